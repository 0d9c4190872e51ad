"""Tables and figures of notebooks 03 and 04: what the annotations hold, and what a data set made of them.

Figures take data and an `ax` (a new one if none is given), draw, and return the `ax`; axes carry units. Annotations are the table of
`annotations.read_annotations`, recordings that of `recordings.list_recordings`.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from preprocessing.snr import AROUND_S, measured_snr_db
from spectrogram.background import ContrastStream
from spectrogram.generator import SpectrogramGenerator
from spectrogram.plots import plot_spectrogram
from spectrogram.profile import Profile
from spectrogram.recording import Recording

COLOURS = {"ECHO": "#d95f02", "HFPC": "#7570b3", "BBPC": "#e7298a", "Whistle": "#1b9e77", "Boat": "#666666"}  # as in the training room
OTHERS = ("#1f78b4", "#b15928", "#e6ab02", "#a6761d", "#66a61e", "#6a3d9a", "#fb9a99", "#33a02c", "#17becf", "#111111", "#c51b7d", "#8dd3c7")
STRETCH_S = 60.0   # of a recording, taken at once
AUDIBLE_DB = 6.0
MOST = 12          # labels that a figure shows: the most frequent; the tables hold all


def simulated_sites(folder: str | Path, sites: tuple[str, ...] = ("BSM", "KAM"), recordings: int = 2, recording_s: float = 40.0, seed: int = 11) -> Path:
    """Simulated deployments to show the notebooks with, a folder for each site; made once for the same arguments. Sound, selection tables and truth are SIMULATED."""
    from preprocessing.soundscape import simulate_deployment

    for k, site in enumerate(sites):
        told = Path(folder) / site / "deployment.json"
        made = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
        if [made.get(what) for what in ("seed", "n_recordings", "recording_s")] != [seed + k, recordings, recording_s]:
            simulate_deployment(Path(folder) / site, site, seed + k, recordings, recording_s, progress=False, call_rate_per_min=24, range_m=200.0,
                                call_mix={"ECHO": 0.2, "HFPC": 0.25, "BBPC": 0.25, "Whistle": 0.3}, boats=[i % 2 == 1 for i in range(recordings)])
    return Path(folder)


def confusers_as_events(folder: str | Path) -> pd.DataFrame:
    """A stand-in for a detector's false alarms: every sound that the simulator put in to be confused with a call, taken for a whistle."""
    parts = [pd.read_csv(path).assign(site=path.parent.name) for path in sorted(Path(folder).glob("*/confusers.csv"))]
    events = pd.concat(parts, ignore_index=True)
    return events.assign(recording=events["site"] + "/" + events["recording"].astype(str), labels="Whistle")[["recording", "start_s", "end_s", "labels"]]


def colour_of(labels) -> dict[str, str]:
    """A colour for each label, the same in every figure of a table."""
    others = [label for label in labels if label not in COLOURS]
    return COLOURS | {label: OTHERS[k % len(OTHERS)] for k, label in enumerate(others)}


def label_order(annotations: pd.DataFrame) -> list[str]:
    """Labels, the most frequent first."""
    return list(annotations["label"].value_counts().index)


def with_snr(annotations: pd.DataFrame, recordings: pd.DataFrame, profile: Profile, progress: bool = True) -> pd.DataFrame:
    """The annotations with `snr_db` measured (`snr.measured_snr_db`), a minute of a recording at a time; NaN for recordings that are not there."""
    from tqdm.auto import tqdm

    generator, measured_db = SpectrogramGenerator(profile), np.full(len(annotations), np.nan)
    paths = dict(zip(recordings["recording"], recordings["path"]))
    annotations = annotations.reset_index(drop=True)
    for name, mine in tqdm(annotations.groupby("recording"), desc="signal-to-noise", unit="recording", disable=not progress):
        if name not in paths:
            continue
        recording = Recording(paths[name])
        for stretch, starts in mine.groupby(mine["start_s"] // STRETCH_S):
            first_s, last_s = max(0.0, stretch * STRETCH_S - AROUND_S), min(recording.duration_s, (stretch + 1) * STRETCH_S + AROUND_S)
            near = mine[(mine["end_s"] > first_s) & (mine["start_s"] < last_s)]
            picture_db = generator.spectrogram(recording, first_s, last_s).picture_db
            moved = near.assign(start_s=(near["start_s"] - first_s).clip(lower=0), end_s=near["end_s"].clip(upper=last_s) - first_s)
            found_db = pd.Series(measured_snr_db(picture_db, profile, moved), near.index)
            measured_db[starts.index] = found_db[starts.index]
    return annotations.assign(snr_db=measured_db)


def label_table(annotations: pd.DataFrame) -> pd.DataFrame:
    """A row for each label: how many, in how many recordings, by whom; median and 5th to 95th percentile of the durations, median bounds and SNR."""
    durations_s = annotations["end_s"] - annotations["start_s"]
    groups = annotations.assign(duration_s=durations_s).groupby("label", sort=False)
    table = pd.DataFrame({"annotations": groups.size(), "recordings": groups["recording"].nunique(), "annotators": groups["annotator"].agg(lambda names: names[names != ""].nunique()),
                          "duration_s": groups["duration_s"].median(), "p05_s": groups["duration_s"].quantile(0.05), "p95_s": groups["duration_s"].quantile(0.95),
                          "low_khz": groups["low_hz"].median() / 1e3, "high_khz": groups["high_hz"].median() / 1e3})
    if "snr_db" in annotations:
        table["snr_db"] = groups["snr_db"].median()
    return table.sort_values("annotations", ascending=False)


def count_by(annotations: pd.DataFrame, recordings: pd.DataFrame, by: str = "site") -> pd.DataFrame:
    """Annotations of each label in each group of recordings; then the group's recordings and minutes. A group without a call is there, too."""
    if by not in recordings:
        raise ValueError(f"the recordings table has no column {by!r}; it has {', '.join(recordings.columns)}")
    group = annotations["recording"].map(dict(zip(recordings["recording"], recordings[by])))
    counts = pd.crosstab(group, annotations["label"]).reindex(index=pd.Index(recordings[by].unique(), name=by), columns=label_order(annotations), fill_value=0)
    of_group = recordings.groupby(by)
    return counts.rename_axis(columns=None).assign(recordings=of_group["recording"].size(), minutes=(of_group["duration_s"].sum() / 60).round(2))


def plot_rates(counts: pd.DataFrame, ax=None):
    """Annotations per recorded minute, for each group a bar of each label (`count_by`)."""
    every = [column for column in counts if column not in ("recordings", "minutes")]
    labels = every[:MOST]
    ax, width, colours = _axes(ax), 0.8 / max(len(labels), 1), colour_of(labels)
    for k, label in enumerate(labels):
        ax.bar(np.arange(len(counts)) + (k - (len(labels) - 1) / 2) * width, counts[label] / counts["minutes"], width, color=colours[label], label=label)
    few = len(counts) <= 8
    ax.set_xticks(range(len(counts)), [f"{name}{chr(10) if few else ', '}{minutes:g} min" for name, minutes in counts["minutes"].items()], rotation=0 if few else 25,
                  ha="center" if few else "right")
    ax.set(xlabel=counts.index.name, ylabel="annotations per recorded minute")
    ax.grid(axis="y", alpha=0.3)
    _legend(ax, len(labels), len(every))
    return ax


def plot_spread(annotations: pd.DataFrame, values: pd.Series, name: str, ax=None, log: bool = False):
    """A row for each label: every annotation a point, and a box from the lower to the upper quartile with the median in it; `name`, with its unit, below."""
    labels = label_order(annotations)[::-1]
    ax, rng = _axes(ax, (10, 0.9 + max(0.5 - 0.015 * len(labels), 0.2) * len(labels))), np.random.default_rng(0)
    for row, label in enumerate(labels):
        mine = values[(annotations["label"] == label) & np.isfinite(values)].to_numpy(float)
        if not len(mine):
            continue
        colour = colour_of(label_order(annotations))[label]
        ax.scatter(mine, row + rng.uniform(-0.28, 0.28, len(mine)), s=9, color=colour, alpha=0.55, linewidths=0)
        low, middle, high = np.percentile(mine, [25, 50, 75])
        ax.fill_between([low, high], row - 0.32, row + 0.32, color=colour, alpha=0.18, linewidth=0)
        ax.plot([middle, middle], [row - 0.32, row + 0.32], color=colour, linewidth=2)
    if log:
        _log_axis(ax)
    ax.set_yticks(range(len(labels)), [f"{label} ({int((annotations['label'] == label).sum())})" for label in labels])
    ax.set(xlabel=name, ylim=(-0.6, len(labels) - 0.4))
    ax.grid(axis="x", alpha=0.3)
    return ax


def plot_durations(annotations: pd.DataFrame, ax=None):
    """Durations of the annotations in seconds, log axis; those without extent are left out."""
    durations_s = annotations["end_s"] - annotations["start_s"]
    return plot_spread(annotations, durations_s.where(durations_s > 0), "duration (s)", ax, log=True)


def plot_snr(annotations: pd.DataFrame, ax=None):
    """Signal-to-noise ratios; dashed: what the simulator and the training of this project count as audible."""
    ax = plot_spread(annotations, annotations["snr_db"], "signal-to-noise ratio (dB)", ax)
    ax.axvline(AUDIBLE_DB, color="0.4", linestyle="--", linewidth=1)
    ax.text(AUDIBLE_DB, ax.get_ylim()[1], f" {AUDIBLE_DB:g} dB: audible", color="0.4", fontsize="small", va="bottom")
    return ax


def plot_bands(annotations: pd.DataFrame, profile: Profile, ax=None):
    """Which share of a label's annotations covers each frequency; below, as bars, the band that the profile gives the label."""
    ax, every = _axes(ax), label_order(annotations)
    colours, bounded = colour_of(every), annotations.dropna(subset=["low_hz", "high_hz"])
    top_hz = max(profile.picture["high_hz"], bounded["high_hz"].max() if len(bounded) else 0)
    low_hz = max(10.0, min(profile.picture["low_hz"], bounded["low_hz"].min() if len(bounded) else np.inf))
    frequency_hz = np.geomspace(low_hz, top_hz, 400)
    for row, label in enumerate(label_order(bounded)[:MOST]):
        mine = bounded[bounded["label"] == label]
        covered = ((mine["low_hz"].to_numpy()[:, None] <= frequency_hz) & (mine["high_hz"].to_numpy()[:, None] >= frequency_hz)).mean(axis=0)
        ax.plot(frequency_hz / 1e3, covered, color=colours[label], label=f"{label} ({len(mine)})")
        if label in profile.label_band_hz:
            ax.plot(np.array(profile.label_band_hz[label]) / 1e3, [-0.06 - 0.04 * row] * 2, color=colours[label], linewidth=3, solid_capstyle="butt")
    _log_axis(ax)
    ax.set(xlabel="frequency (kHz)", ylabel="share of the annotations\nthat cover it", xlim=(low_hz / 1e3, top_hz / 1e3), yticks=np.arange(0, 1.1, 0.25))
    ax.grid(alpha=0.3)
    if ax.lines:
        _legend(ax, min(bounded["label"].nunique(), MOST), len(every))
    else:
        ax.text(0.5, 0.5, "no annotation tells its frequencies", transform=ax.transAxes, ha="center")
    return ax


def show_examples(annotations: pd.DataFrame, recordings: pd.DataFrame, profile: Profile, per_label: int = 3, seed: int = 0, shown_s: float = 2.0):
    """Annotations drawn by chance, a row of pictures for each label, each with its own box and those around it; longer calls are shown from their start.

    Returns
    -------
    The figure's axes (labels, per_label).
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    paths, about = (dict(zip(recordings["recording"], recordings[column])) for column in ("path", "site"))
    there, generator = annotations[annotations["recording"].isin(list(paths))], SpectrogramGenerator(profile)
    labels = label_order(there)[:MOST]
    figure, grid = plt.subplots(len(labels), per_label, figsize=(4 * per_label, 2.5 * len(labels)), layout="constrained", squeeze=False)
    for label, axes in zip(labels, grid):
        drawn = there[there["label"] == label].sample(min(per_label, int((there["label"] == label).sum())), random_state=seed)
        for ax in axes[len(drawn):]:
            ax.set_axis_off()
        for ax, row in zip(axes, drawn.itertuples()):
            recording = Recording(paths[row.recording])
            middle_s = (row.start_s + min(row.end_s, row.start_s + 0.6 * shown_s)) / 2
            start_s = max(0.0, min(middle_s - shown_s / 2, recording.duration_s - shown_s))
            plot_spectrogram(generator.spectrogram(recording, start_s, start_s + shown_s), ax=ax, colour_bar=False)
            for text in ax.texts:  # what is said of masked bands has no room here
                text.set(text="no data", fontsize=7)
            low_khz, high_khz = ax.get_ylim()
            for other in there[(there["recording"] == row.recording) & (there["end_s"] > start_s) & (there["start_s"] < start_s + shown_s)].itertuples():
                bottom, top = np.nan_to_num(other.low_hz / 1e3, nan=low_khz), np.nan_to_num(other.high_hz / 1e3, nan=high_khz)
                own = other.Index == row.Index
                ax.add_patch(Rectangle((other.start_s, bottom), other.end_s - other.start_s, top - bottom, fill=False, edgecolor="white" if own else "#9bd3ff",
                                       linewidth=1.6 if own else 0.8, linestyle="-" if own else ":"))
            snr = f", {row.snr_db:.0f} dB" if np.isfinite(getattr(row, "snr_db", np.nan)) else ""
            ax.set_title(f"{label}, {about[row.recording]}{snr}\n{Path(row.recording).name}", fontsize=8, loc="left")
            ax.set(xlabel="", ylabel="")
    figure.supxlabel("time from the recording's start (s)", fontsize=9)
    figure.supylabel("frequency (kHz)", fontsize=9)
    return grid


def window_table(data: DataSet, by: str = "site") -> pd.DataFrame:
    """Windows of a data set in which each label is present, absent, or not to be told, for each group; and the hard negatives."""
    rows = []
    for group, mine in data.manifest.groupby(by, sort=False):
        for label in data.profile.labels:
            target = mine[f"target_{label}"]
            rows.append({by: group, "label": label, "present": int((target == 1).sum()), "absent": int((target == 0).sum()), "ignored": int(target.isna().sum())})
    return pd.DataFrame(rows).set_index([by, "label"])


def plot_windows(table: pd.DataFrame, ax=None):
    """Shares of present, absent and ignored windows of each label and group (`window_table`)."""
    ax, names, left = _axes(ax, (10, 0.8 + 0.26 * len(table))), [f"{group}, {label}" for group, label in table.index], np.zeros(len(table))
    share = table.div(table.sum(axis=1), axis=0)
    for column, colour in (("present", "#1b9e77"), ("absent", "#bdd7e7"), ("ignored", "#e8e8e8")):
        ax.barh(range(len(table)), share[column], left=left, color=colour, label=column, edgecolor="white", linewidth=0.5)
        left += share[column].to_numpy()
    for row, count in enumerate(table["present"]):
        ax.text(0.005, row, count, va="center", fontsize=8)
    ax.set_yticks(range(len(table)), names)
    ax.invert_yaxis()
    ax.set(xlabel="share of the windows (number: windows with the call)", xlim=(0, 1))
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def show_windows(data: DataSet, count: int = 8, seed: int = 0):
    """Stored windows drawn by chance, of each label in turn, then of silence and hard negatives; what they carry above. Returns the axes."""
    import matplotlib.pyplot as plt

    manifest, profile = data.manifest, data.profile
    wanted = [manifest[manifest[f"target_{label}"] == 1] for label in profile.labels]
    targets = manifest[[f"target_{label}" for label in profile.labels]]
    wanted += [manifest[manifest["hard_negative"]], manifest[(targets == 0).any(axis=1) & ~(targets == 1).any(axis=1)]]
    wanted = [rows for rows in wanted if len(rows)] or [manifest]
    figure, grid = plt.subplots(-(-count // 4), min(count, 4), figsize=(12, 2.9 * -(-count // 4)), layout="constrained", sharex=True, sharey=True, squeeze=False)
    for k, ax in enumerate(grid.flat):
        row = wanted[k % len(wanted)].sample(1, random_state=seed + k)
        picture_db = data.windows(row)[0]
        low, high = np.nanpercentile(picture_db, [5, 99.8]) if np.isfinite(picture_db).any() else (0, 1)
        ax.set_facecolor("#d9d9d9")  # masked bands, or after the recording's end
        ax.imshow(picture_db.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 20), extent=(0, profile.window_s, 0, profile.n_bands))
        said = row.iloc[0]
        carried = " + ".join(label for label in profile.labels if said[f"target_{label}"] == 1) or "nothing"
        carried += ", hard negative" if said["hard_negative"] else ""
        ax.set_title(f"{carried}\n{said['site']}, {said['start_s']:.1f} s", fontsize=9, loc="left")
        ticks_khz = [khz for khz in (1, 5, 20, 40, 80) if 1e3 * khz <= profile.picture["high_hz"]]
        ax.set_yticks(np.searchsorted(profile.band_centres_hz, 1e3 * np.array(ticks_khz)), ticks_khz)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel("frequency (kHz)", fontsize=9)
    return grid


def same_as_inference(data: DataSet, recordings: pd.DataFrame, name: str, block_s: float = 3.0) -> bool:
    """True if the stored picture of a recording is, bit for bit, what streaming it in other blocks gives."""
    path = recordings.set_index("recording").loc[name, "path"]
    contrast, pieces = ContrastStream(data.profile), SpectrogramGenerator(data.profile).stream(Recording(path), block_s)
    streamed = np.concatenate([seen_db for piece in pieces for seen_db, _ in contrast.push(piece.picture_db, None, piece.final)])
    stored = data.picture(data.rows(recording=name)["picture"].iloc[0])
    return np.array_equal(stored[:len(streamed)], streamed, equal_nan=True) and bool(np.isnan(stored[len(streamed):]).all())


def _legend(ax, shown: int, every: int):
    """Above the axes, in as many columns as there is room for; says so when not all labels are shown."""
    longest = max(len(label) for label in ax.get_legend_handles_labels()[1])
    ax.legend(ncols=max(1, 110 // (longest + 8)), loc="lower left", bbox_to_anchor=(0, 1), title=None if shown >= every else f"{shown} of {every} labels", alignment="left")


def _log_axis(ax):
    """Logarithmic across, with ticks at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _axes(ax=None, size=(10, 3.8)):
    import matplotlib.pyplot as plt

    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]
