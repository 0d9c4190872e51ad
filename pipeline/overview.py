"""A finished run, opened for reading: its tables, and the questions that a notebook asks of them.

    python -m pipeline.overview docs/events.png     # the door's picture: simulates the demonstration, runs it, draws
"""
from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.effort import listened_s
from pipeline.events import call_labels
from pipeline.flags import more_line, passes
from pipeline.plots import busiest_passage, plot_passage
from pipeline.simulated import found_table, plot_truth, root_of, simulated_recordings
from pipeline.tables import read_provenance
from spectrogram.profile import load_profile
from spectrogram.recording import Recording
from spectrogram.units import all_calibrated, pressure_unit


class Run:
    """The tables of an output folder together with where their recordings lie.

    Attributes
    ----------
    events, windows, levels, effort : DataFrames; call_labels : labels that make events; thresholds : used in the run; profile : Profile.
    """

    def __init__(self, audio: str | Path, output: str | Path, profile=None, clock: str | None = None):
        self.audio, self.output, self.clock = Path(audio), Path(output), clock
        self.profile = load_profile(read_provenance(self.output / "events.parquet").get("profile") or profile)
        self.events, self.windows, self.levels, self.effort = (pd.read_parquet(self.output / f"{table}.parquet") for table in ("events", "windows", "levels", "effort"))
        self.call_labels = call_labels(self.profile)
        self.thresholds = read_provenance(self.output / "windows.parquet")["thresholds"]

    def path(self, name: str) -> Path:
        return self.audio if self.audio.is_file() else self.audio / name

    def recording(self, name: str) -> Recording:
        return Recording(self.path(name), clock=self.clock)

    def events_of(self, name: str) -> pd.DataFrame:
        return self.events[self.events["recording"] == name]

    def passage(self, seconds: float) -> tuple[str, float]:
        """(recording, start_s) of the passage where most happens."""
        return busiest_passage(self.events, self.effort, seconds)

    def levels_like(self, name: str) -> pd.DataFrame:
        """Levels to draw on one time axis: of all recordings at the rate of this one; without start times, of this one alone."""
        mine = self.levels[self.levels["recording"] == name].dropna(axis=1, how="all")
        dated = "UTC" in mine and self.levels["UTC"].notna().all()
        broadband = [c for c in mine if c.startswith("BB_")][:1]
        rows = self.levels[self.levels[broadband].notna().all(axis=1)] if dated else self.levels[self.levels["recording"] == name]
        return rows[["UTC", *(c for c in mine if c != "UTC")]].reset_index(drop=True)

    def moment(self, name: str) -> float:
        """Seconds into a recording: the middle of the event that stands out most, or of the recording where nothing was found."""
        mine = self.events_of(name)
        if mine["snr_db"].notna().any():
            best = mine.loc[mine["snr_db"].idxmax()]
            return float((best["start_s"] + best["end_s"]) / 2)
        return float(self.effort.loc[self.effort["recording"] == name, "duration_s"].sum()) / 2

    def clearest(self, n: int) -> pd.DataFrame:
        """The `n` events that stand out most, of those that pass, in order of time, in units for reading."""
        return self._readable(self.events[passes(self.events)], n)

    def marked(self, n: int) -> pd.DataFrame:
        """The same of the events that do not pass, with what marks them."""
        return self._readable(self.events[~passes(self.events)], n)

    def _readable(self, events: pd.DataFrame, n: int) -> pd.DataFrame:
        top = events.sort_values("snr_db", ascending=False).head(n).sort_values(["start_utc", "recording", "start_s"])
        scores = top[[f"score_{x}" for x in self.call_labels]].to_numpy()
        return pd.DataFrame({
            "start (UTC)": top["start_utc"].dt.strftime("%Y-%m-%d %H:%M:%S.%f").str[:-5].fillna("unknown"), "recording": top["recording"],
            "start (s)": top["start_s"].round(2), "duration (s)": (top["end_s"] - top["start_s"]).round(2), "labels": top["labels"],
            "diphonic": top["diphonic"], "low (kHz)": (top["low_hz"] / 1e3).round(1), "high (kHz)": (top["high_hz"] / 1e3).round(1),
            "score": np.round(np.nanmax(scores, axis=1).astype(float), 2) if len(top) else [], "species score": top["species_score"].astype(float).round(2) if "species_score" in top else np.nan,
            "flags": top["flags"] if "flags" in top else "", "SNR (dB)": top["snr_db"].astype(float).round(1), f"level ({pressure_unit(all_calibrated(top))})": top["level_db"].astype(float).round(1),
        }).reset_index(drop=True)

    def counts(self) -> pd.DataFrame:
        """Events, those that pass, these per hour of listening (unverified), and total seconds of each label, of diphonic events and of all."""
        heard_s = listened_s(self.effort)
        hours = heard_s.sum() / 3600
        names = self.events["labels"].str.split("+")
        missing = self.effort["missing_labels"].str.split("+")
        rows = []
        for what in [*self.call_labels, "diphonic", "all"]:
            if what == "all":
                mine = self.events
            elif what == "diphonic":
                mine = self.events[self.events["diphonic"].astype(bool)]
            else:
                mine = self.events[names.map(lambda labels: what in labels).astype(bool)] if len(self.events) else self.events
                could = ~missing.map(lambda labels: what in labels).astype(bool)
                hours = heard_s[could].sum() / 3600
            passing = int(passes(mine).sum())
            rows.append({"label": what, "events": len(mine), "passing": passing, "passing per hour (unverified)": round(passing / hours, 1) if hours else np.nan,
                         "hours that could show it": round(hours, 3), "seconds": round((mine["end_s"] - mine["start_s"]).sum(), 1)})
            hours = heard_s.sum() / 3600
        return pd.DataFrame(rows)

    def draw_found(self, name: str, start_s: float, end_s: float):
        """A passage of a simulated recording: its spectrogram with the events' boxes, and below found against truth; the figure."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(2, 1, figsize=(11, 7), layout="constrained", height_ratios=[2.4, 1])
        events, truth = self.events_of(name), self.simulation[1]
        plot_passage(self.recording(name), events, self.profile, start_s, end_s, ax=axes[0])
        plot_truth(events, truth[truth["recording"] == name], self.call_labels, start_s, end_s, axes[1])
        axes[0].set_title(f"simulated  ·  {axes[0].get_title(loc='left')}", loc="left", fontsize=10)
        axes[0].set_xlabel("")
        axes[1].set_xlabel("time from the recording's start (s); upper bars: simulated calls, lower bars: events")
        return figure

    @cached_property
    def simulation(self) -> tuple[list[str], pd.DataFrame]:
        """Names of the recordings that a simulator made, and the truth of what is in them (`pipeline.simulated`)."""
        return simulated_recordings(self.effort, root_of(self.output, self.audio))

    def found(self) -> pd.DataFrame:
        """Of a simulated deployment: calls, found, missed, events and false ones of each label."""
        return found_table(self.events, self.simulation[1], self.call_labels)

    def files(self) -> pd.DataFrame:
        """The files of the output folder, with sizes."""
        kept = [p for p in sorted(self.output.rglob("*")) if p.is_file() and "parts" not in p.relative_to(self.output).parts]
        return pd.DataFrame({"file": [str(p) for p in kept], "kB": [round(p.stat().st_size / 1000, 1) for p in kept]})


def describe(run: Run) -> str:
    """A paragraph (Markdown) on what the run found: effort, events, calibration, faults."""
    simulated = len(run.simulation[0])
    effort, events = run.effort, run.events
    failed = int((effort["status"] == "failed").sum())
    whole = simulated == effort["recording"].nunique()
    lines = [("**This deployment is simulated**" if whole else f"**{simulated} of these recordings are simulated**") + ": no animal was recorded." if simulated else ""]
    gone = int((effort["status"] == "gone").sum())
    lines.append(f"{len(effort)} recordings, {effort['duration_s'].sum() / 60:.1f} minutes; {failed} could not be read, "
                 f"{int((effort['status'] == 'partial').sum())} only in part{f', {gone} are no longer there (their rows are kept)' if gone else ''}. {int(passes(events).sum())} events pass, {int(events.loc[passes(events), 'diphonic'].sum())} of them diphonic. {more_line(events)}".rstrip())
    lines.append("Names and rates of events are **unverified** until somebody has listened to a sample of them.")
    unknown = int((~effort["calibrated"] & (effort["status"] != "failed")).sum())
    if unknown:
        lines.append(f"**Levels of {unknown} recordings are not calibrated**: the hydrophone is unknown and -170 dB stands in; "
                     "add its serial to `spectrogram/hydrophones_sensitivity.json`.")
    missing = sorted({x for row in effort.loc[effort["status"] != "failed", "missing_labels"] for x in row.split("+") if x})
    if missing:
        lines.append(f"Some recordings cannot show {', '.join(missing)} at their sample rate: there these are *missing*, not absent.")
    boat = run.windows["p_Boat"] if "p_Boat" in run.windows else pd.Series(dtype=float)
    if boat.notna().any():
        lines.append(f"Vessel noise in {(boat.dropna() >= run.thresholds['Boat']['window']).mean():.0%} of the windows.")
    return "\n\n".join(filter(None, lines))


def main(path: str) -> None:
    """Draw the passage of the demonstration where most happens into a file."""
    import tempfile

    import matplotlib

    from pipeline.multi import run_multi_file_pipeline
    from preprocessing.soundscape import demo_deployment

    matplotlib.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        audio = demo_deployment(Path(folder) / "demonstration")
        run_multi_file_pipeline(audio, Path(folder) / "out")
        run = Run(audio, Path(folder) / "out")
        name, start_s = run.passage(11)
        run.draw_found(name, start_s, start_s + 11).savefig(path, dpi=90)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pipeline.overview PICTURE, for example docs/events.png")
    main(sys.argv[1])
