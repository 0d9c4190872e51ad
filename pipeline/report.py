"""The report of a deployment: one page of HTML with everything in it, from the tables of a run.

    python -m pipeline.report OUTPUT [--audio FOLDER] [--site NAME] [--time-zone America/Toronto] [--position 48.25 -69.95]

or `make_report(...)`. The page is `report.ipynb`, executed by papermill; each of its cells shows what a method of `Report` gives back.
"""
from __future__ import annotations

import argparse
import json
import sys
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import report_figures as figures
from pipeline.effort import NO_SERIAL, clock_jumps, clock_rates, duty_cycle, gaps, listened_s, overlaps, segments
from pipeline.flags import AGAINST, FLAGS, flag_counts, more_line
from pipeline.long_term import long_term
from pipeline.plots import plot_call_types
from pipeline.presence import call_rates, hour_of_day, presence
from pipeline.report_events import clearest, event_cards, most_doubtful
from pipeline.report_page import Page, counted, folded, hours, paragraph, per_cent, picture, short, span, table_html
from pipeline.report_tables import ROOT, VESSEL, Deployment
from pipeline.simulated import found_table

ROWS = 12  # of a table; what is more is counted
LONGEST_TRUTH_S = 120.0  # drawn of found against truth
MOST_DRAWN = 2000  # recordings without a start time, one after another
FAULTS = {"clipping": "clipping", "silence": "silence", "are not numbers": "samples that are no numbers", "overlaps an earlier": "overlap with an earlier recording",
          "no start time": "no start time in the name",
          "not listened to": "stretches that were not listened to", "cannot be right": "a date that cannot be right", "truncated": "truncated", "damaged": "damaged"}


class Report(Deployment):
    """What the page says of the tables of an output folder: a method for each of its sections. Parameters, errors: `Deployment`."""

    def headline(self):
        """What was recorded and found, in three sentences, and how far to trust it."""
        total, failed = self.heard["duration_s"].sum(), int((self.effort["status"] == "failed").sum())
        when = ""
        if len(self.dated):
            first, last = (f"{t.tz_convert(self.clock).day} {t.tz_convert(self.clock):%B %Y}" for t in (self.dated["start_utc"].min(), self.dated["end_utc"].max()))
            when = f" on {first}" if first == last else f" between {first} and {last}"
        recorders = self.effort.loc[self.effort["recorder"] != NO_SERIAL, "recorder"].nunique()
        said = [f"<b>{hours(total)}</b> of sound in {counted(len(self.effort), 'recording')}" + (f" of {counted(recorders, 'recorder')}" if recorders else "") + when
                + (f"; {failed:,} could not be read" if failed else "") + f". <b>{counted(len(self.events), 'event')}</b> pass{'es' * (len(self.events) == 1)}, {int(self.events['diphonic'].sum()):,} of them diphonic."]
        more = more_line(self.all_events)
        if more:
            said[0] += f" {more[:-1]} (<a href=\"#marked\">marked</a>)."
        made_up = len(self.simulation[0])
        every = made_up == self.effort["recording"].nunique()
        if made_up:
            said.insert(0, f"<b>Simulated: no animal was recorded.</b> {'Every recording here was' if every else counted(made_up, 'recording') + (' was' if made_up == 1 else ' were')} made by a simulator.")
        said.append("Names and rates of events are <b>unverified</b> until somebody has listened to a sample of them.")
        undated = len(self.heard) - len(self.dated)
        if undated:
            said.append(f"{counted(undated, 'recording')} ({hours(self.heard['duration_s'].sum() - self.dated['duration_s'].sum())}) without a start time that can be right: counted in totals, but not by day and hour.")
        silent_s = (self.heard["duration_s"] - listened_s(self.heard)).sum()
        if silent_s > 0:
            broken = int((listened_s(self.heard) < self.heard["duration_s"]).sum())
            said.append(f"{hours(silent_s)} of it, in {counted(broken, 'recording')}, were not listened to (dropouts, muted stretches, gaps): no presence and no levels there.")
        if self.model_info.get("summary", {}).get("simulated"):
            said.append(f"Calls were named by the model <code>{escape(self.made['events']['model_id'])}</code>, which was <b>trained on simulated sound</b>: "
                        f"check its names before you rely on them (<code>{self.model_info['folder']}/model_card.md</code>).")
        elif self.made["events"].get("model_id"):
            said.append(f"Calls were named by the model <code>{escape(self.made['events']['model_id'])}</code>.")
        unknown = int((~self.heard["calibrated"].astype(bool)).sum())
        if unknown:
            said.append(f"<b>Levels of {counted(unknown, 'recording')} are not calibrated</b>: the hydrophone is unknown, and -170 dB stands in.")
        title = (escape(self.title) or "An empty deployment") + ("" if not made_up else " (simulated)" if every else " (partly simulated)")
        return Page(f"<h1>{title}</h1>" + paragraph(*said).html)

    def effort_figure(self):
        if not len(self.dated):
            return paragraph("No recording has a start time, so there is no picture of when was recorded.")
        return picture(figures.plot_strip(self.effort, self.clock), f"When each recorder recorded, local time {self.zone_name}")

    def effort_by_day(self):
        if not len(self.dated) or self.unit == "hour":
            return None
        everything = self.effort.assign(missing_labels="")
        table = presence(self.events, everything, self.unit, labels=self.labels[:1], time_zone=self.zone_name)
        return picture(figures.plot_effort_by_day(table, self.clock), f"Hours of sound in each {self.unit}")

    def recorders(self):
        """A row for each recorder: when, how long, on which schedule, gaps."""
        cycles = duty_cycle(self.effort).set_index(["site", "recorder"])
        fast = clock_rates(self.effort).set_index(["site", "recorder"])["ppm"]
        rows = []
        for key, mine in self.heard.groupby(["site", "recorder"], sort=True):
            cycle = cycles.loc[key] if key in cycles.index else None
            schedule = "no start times" if cycle is None else cycle["kind"]
            if schedule == "duty cycle":
                schedule = f"{span(cycle['on_s'])} every {span(cycle['period_s'])} ({per_cent(cycle['explained'])} of the sound)"
            breaks = gaps(mine)
            unexpected = breaks[breaks["gap_s"] > (cycle["period_s"] - cycle["on_s"] + 4 if cycle is not None and cycle["kind"] == "duty cycle" else 0)]
            rows.append({"recorder": key[1] if key[0] == key[1] else f"{key[1]}, {key[0]}", "first sound": self.local(mine["start_utc"].min()), "last sound": self.local(mine["end_utc"].max()), "recordings": f"{len(mine):,}",
                         "sound": hours(mine["duration_s"].sum()), "schedule": schedule, "stretches": f"{len(segments(mine)):,}", "gaps": f"{len(unexpected):,}",
                         "in gaps": hours(unexpected["gap_s"].sum()) if len(unexpected) else "",
                         "clock": f"samples {fast[key]:.0f} ppm faster than it says" if key in fast.index else "",
                         "sample rate (kHz)": ", ".join(f"{r / 1000:g}" for r in sorted(mine["sample_rate_hz"].unique())),
                         "could not show": ", ".join(sorted({x for text in mine["missing_labels"].fillna("") for x in str(text).split("+") if x})),
                         "sensitivity (dB)": ", ".join(f"{s:g}" for s in sorted(mine["sensitivity_db"].dropna().unique())) + ("" if mine["calibrated"].all() else " (assumed)")})
        return table_html(pd.DataFrame(rows), "Nothing could be read.", f"Local time: {self.zone_name}. Gaps: beyond the schedule's own pauses.")

    def gaps_and_clocks(self):
        """The longest gaps; overlaps and clocks that jump, where there are any."""
        found, laps, jumps = gaps(self.effort), overlaps(self.effort), clock_jumps(self.effort)
        found = found[found["gap_s"] >= 2 * found["gap_s"].median()] if len(found) > 20 else found
        longest = found.nlargest(ROWS, "gap_s")
        shown = pd.DataFrame({"site": longest["site"], "recorder": longest["recorder"], "from": longest["start_utc"].map(self.local), "to": longest["end_utc"].map(self.local), "gap": longest["gap_s"].map(span),
                              "after": longest["after"]})
        parts = [folded("Longest gaps", table_html(shown, "No gaps."), len(found))]
        for name, table, column in (("Overlaps", laps, "overlap_s"), ("Clocks that jump", jumps, "jump_s")):
            if len(table):
                first = table.head(ROWS)
                shown = pd.DataFrame({"recorder": first["recorder"], "recording": first["recording"], "start": first["start_utc"].map(self.local), "by": first[column].map(span).mask(first[column].isna(), ""), "why": first["why"]})
                parts.append(folded(name, table_html(shown), len(table), open_=True))
        return parts

    def rates(self):
        """How often each call type was heard, with intervals."""
        table = call_rates(self.events, self.effort, labels=self.labels, time_zone=self.zone_name)
        if not len(table):
            return paragraph("Nothing was recorded.")
        if self.vessels is not None:
            table = pd.concat([table, call_rates(self.vessels, self.effort, labels=[VESSEL], time_zone=self.zone_name)], ignore_index=True).sort_values("site", kind="stable")
        boat = table["label"] == VESSEL
        names = {label: self.profile.label_info.get(label, {}).get("name", label) for label in table["label"].unique()}

        def with_interval(row, value, low, high, scale=1, unit=""):
            if np.isnan(row[value]):
                return ""
            return short(scale * row[value]) + unit + ("" if np.isnan(row[low]) else f" <small>({short(scale * row[low])} to {short(scale * row[high])})</small>")

        shown = pd.DataFrame({
            "site": table["site"], "call type": [f"{escape(x)} <small>{escape(names[x])}</small>" for x in table["label"]], "heard for": table["recorded_s"].map(hours),
            "events": table["events"].map("{:,}".format).mask(boat, "").mask(table["recorded_s"] == 0, "not listened"),
            "per hour of recording": [with_interval(r, "events_per_hour", "rate_low", "rate_high") if r["label"] != VESSEL else "" for _, r in table.iterrows()],
            "minutes with calls": [with_interval(r, "share", "share_low", "share_high", 100, " %") for _, r in table.iterrows()],
            "blocks": [counted(n, b) for n, b in zip(table["blocks"], table["block"])]})
        return table_html(shown, "", "Unverified, of events that pass. In brackets: 95 % intervals from drawing whole blocks of time anew, since calls come in bouts; under five blocks there is none. "
                          "“Heard for”: recordings whose sample rate can show the call type.", trusted=("call type", "per hour of recording", "minutes with calls"))

    def diel(self):
        """Day by local hour, for each site."""
        if not len(self.dated):
            return paragraph("Without start times there is no presence by day and hour.")
        return [picture(figures.plot_diel(mine, self.clock, self.position, site if self.hourly["site"].nunique() > 1 else ""), f"Presence by day and local hour at {site}")
                for site, mine in self.hourly.groupby("site", sort=True)]

    def average_day(self):
        if not len(self.dated):
            return None
        when = self.dated["start_utc"].min() + (self.dated["end_utc"].max() - self.dated["start_utc"].min()) / 2
        average = hour_of_day(self.hourly).sort_values("label", key=lambda c: c.map([*self.labels, VESSEL].index), kind="stable")
        return picture(figures.plot_hours(average, self.clock, self.position, when), "Share of minutes with calls in each local hour")

    def call_types(self):
        if not len(self.dated):
            if not 0 < len(self.heard) <= MOST_DRAWN:
                return paragraph("Without start times there is no picture of calls over time.")
            return picture(plot_call_types(self.events, self.heard, self.labels).figure, "Calls per minute listened to, one recording after another")
        table = presence(self.events, self.effort, self.unit, labels=self.labels, time_zone=self.zone_name)
        return picture(figures.plot_rates(table.astype({"site": "str", "label": "str"}), self.clock), f"Calls per hour of recording in each {self.unit}")

    def long_term(self):
        """Long-term spectral average of each site."""
        shown = []
        for site, mine in self.heard.groupby("site", sort=True):
            term = long_term(self.output / "levels.parquet", mine)
            if term is not None:
                row = f"rows of {term.row_s:g} s"
                shown.append(picture(figures.plot_long_term(term, self.clock, f"{site}  ·  {counted(term.recordings, 'recording')}, {row}"), f"Long-term spectral average at {site}"))
        return shown or paragraph("There are no levels.")

    def best(self):
        return event_cards(self, clearest(self.events, self.labels, self.thresholds, self.n_events))

    def doubtful(self):
        return event_cards(self, most_doubtful(self.events, self.labels, self.thresholds, self.n_events))

    def marked_events(self):
        """Events that something speaks against: how many, what marks them, the clearest of them."""
        heading = Page('<h2 id="marked">Marked events</h2>')
        if not len(self.marked):
            return [heading, paragraph("None: nothing speaks against any event.")]
        counts = flag_counts(self.marked)
        shown = pd.DataFrame([{"flag": name, "what it says": FLAGS[name], "events": f"{n:,}"} for name, n in counts.items() if name in AGAINST])
        by_label = ", ".join(f"{label} {int(self.marked['labels'].str.split('+').map(lambda names, label=label: label in names).sum()):,}" for label in self.labels)
        said = [f"{more_line(self.all_events)} They are in the tables like all others, in none of the rates and pictures above (by label: {by_label}). An event may carry several flags."]
        s = self.species_info
        if "other_animal" in counts and s:
            said.append(f"<code>other_animal</code> is no proof: the species model passed {s['belugas_passing']} of {s['belugas']} clips of belugas, and {per_cent(s['other_animals_passing'])} of other animals', from sources "
                        "that it had not learnt from. Listen before you leave such events out.")
        return [heading, paragraph(*said), table_html(shown), event_cards(self, clearest(self.marked, self.labels, self.thresholds, self.n_events))]

    def truth(self):
        """Of a simulated deployment: what was found of what is in it. None for recorded sound."""
        names, truth = self.simulation
        if not len(truth):
            return None
        table = found_table(self.all_events[self.all_events["recording"].isin(names)], truth, self.labels)
        passing = found_table(self.events[self.events["recording"].isin(names)], truth, self.labels)
        table["found by events that pass"] = passing["found"]
        table["false among those that pass"] = passing["false"]
        name = max(names, key=lambda name: (truth["recording"] == name).sum())
        end_s = min(float(self.heard.loc[self.heard["recording"] == name, "duration_s"].sum()), LONGEST_TRUTH_S)
        figure = figures.plot_found(self.all_events, truth, self.labels, name, end_s)
        return [Page('<h2 id="truth">Simulated: found against truth</h2>'),
                paragraph("A call is found where events of its label cover half of its time; calls fainter than 6 dB are not counted. An event is false where calls of its label cover less than half of it."),
                table_html(table.astype(str)), picture(figure, "Calls that were simulated and events, by label, over time")]

    def failures(self):
        """What could not be read, or only in part; remarks on the others, counted by kind."""
        def without_path(row):
            return row.reason.split(": ", 1)[1] if ": " in row.reason and row.recording.rsplit("/", 1)[-1] in row.reason.split(": ", 1)[0] else row.reason

        bad = self.effort[self.effort["status"] != "ok"]
        shown = pd.DataFrame([{"recording": r.recording, "status": r.status, "sound": span(r.duration_s), "reason": without_path(r)} for r in bad.head(3 * ROWS).itertuples()])
        parts = [table_html(shown, "Every recording could be read whole.", f"{len(bad) - len(shown):,} more in effort.parquet." if len(bad) > len(shown) else "")]
        remarks = self.effort.loc[self.effort["status"] == "ok", "reason"].fillna("")
        kinds = {name: int(remarks.str.contains(sign, regex=False).sum()) for sign, name in FAULTS.items()}
        kinds["other"] = int(((remarks != "") & ~remarks.str.contains("|".join(FAULTS))).sum())
        if any(kinds.values()):
            parts.append(paragraph("Of the recordings that were read whole: " + ", ".join(f"{name} in {n:,}" for name, n in kinds.items() if n) + " (column “reason” of effort.parquet)."))
        return parts

    def provenance(self):
        """What made the tables: code, model, thresholds."""
        made = {key: value for table in self.made for key, value in self.made[table].items()}
        rows = [{"what": key.replace("_", " "), "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)} for key, value in made.items() if key != "thresholds"]
        rows += [{"what": f"threshold of {label}", "value": ", ".join(f"{key} {value:.3f}" for key, value in values.items())} for label, values in self.thresholds.items()]
        if self.model_info:
            rows.append({"what": "model's folder", "value": self.model_info["folder"]})
        rows.append({"what": "report made", "value": f"{pd.Timestamp.now(self.clock):%Y-%m-%d %H:%M} {self.zone_name}"})
        files = [{"file": p.name, "kB": f"{p.stat().st_size / 1000:,.1f}"} for p in sorted(self.output.iterdir()) if p.is_file() and p.suffix in (".parquet", ".csv")]
        return [table_html(pd.DataFrame(rows)), folded("Tables in the output folder", table_html(pd.DataFrame(files)), len(files))]


def make_report(output_dir, audio=None, **settings) -> Path:
    """Write `OUTPUT/report.html`, one file that needs no other, from the tables in `output_dir`; return its path.

    Parameters
    ----------
    audio, settings : as for `Report`: site, sites, time_zone, position, n_events.

    Raises
    ------
    FileNotFoundError, ValueError
        as `Report`. Nothing is written then.
    """
    from pipeline.report_page import execute_to_page

    Report(output_dir, audio, **settings)  # complains in one line, before a notebook is started
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return execute_to_page(ROOT / "pipeline" / "report.ipynb", Path(output_dir) / "report.html",
                           {"output": str(Path(output_dir).resolve()), "audio": str(Path(audio).resolve()) if audio else None, **given})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipeline.report", description="Make report.html from the tables of a run.")
    parser.add_argument("output", help="folder with the tables")
    parser.add_argument("--audio", help="folder of the recordings: pictures and sound of events are made from it")
    parser.add_argument("--site", help="name of the place, where all recordings are of one")
    parser.add_argument("--sites", action="append", default=[], metavar="SERIAL_OR_FOLDER=NAME", help="name of a recorder's or a folder's place; may be repeated")
    parser.add_argument("--time-zone", help="local time, e.g. America/Toronto (default: TIMEZONE in .env, else UTC)")
    parser.add_argument("--position", nargs=2, type=float, metavar=("LATITUDE", "LONGITUDE"), help="degrees, east positive: night is shaded")
    parser.add_argument("--events", type=int, default=6, help="how many of the best and of the most doubtful events to show (default 6)")
    a = parser.parse_args(arguments)
    sites = dict(text.split("=", 1) if "=" in text else (text, text) for text in a.sites)
    try:
        path = make_report(a.output, a.audio or None, site=a.site or None, sites=sites or None, time_zone=a.time_zone or None, position=a.position, n_events=a.events)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Report in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
