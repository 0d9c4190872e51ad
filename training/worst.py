"""The error browser: the worst false alarms and misses of an experiment, kept as pictures beside its predictions.

    worst = worst_windows(test, thresholds, labels, window_s)
    keep_worst(folder, worst, data)                  # when the experiment is judged
    figures.show_worst(worst, folder)                # in its analysis, from the folder alone

On disk, in the results folder:

    worst.npz             the calibrated picture around each window: half decibels above the picture's lowest value as whole numbers, 255 where nothing was recorded; below 2 MB
    worst.selections.txt  the same windows as a Raven selection table: file, time, what went wrong, scores and truth

The list itself is drawn from predictions.parquet whenever it is needed. `python -m training.worst NAME` keeps the pictures of a folder of older code, where its sound or data set is
on this machine, and needs no training.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from preprocessing.raven import write_raven

EACH = 3                 # false alarms, and misses, of each label
MARGIN_S = 0.5           # of sound shown before and after a window
LARGEST = 2_000_000      # bytes of pictures in all, before compression
STEP_DB = 0.5
MASKED = 255
PICTURES, SELECTIONS = "worst.npz", "worst.selections.txt"


def worst_windows(table: pd.DataFrame, thresholds: dict, labels: tuple, window_s: float, each: int = EACH) -> pd.DataFrame:
    """The worst false alarms and misses of each label, by how far the probability lies on the wrong side of the threshold; of windows that overlap, one.

    Parameters
    ----------
    table : recording, start_s, target_LABEL, prob_LABEL and, where there are such, snr_LABEL. thresholds : label -> probability, or {"window": probability, ...}.

    Returns
    -------
    error ("false alarm" or "miss"), label, recording, start_s, probability, limit, truth ("ECHO + Boat", "nothing"), snr_db (of a missed call), and prob_LABEL of all labels
    """
    rows, known = [], [label for label in labels if f"target_{label}" in table]
    target = table[[f"target_{label}" for label in known]].to_numpy()
    truth = np.array([" + ".join(label for label, there in zip(known, row == 1) if there) or "nothing" for row in target], object)
    for label in labels:
        limit = thresholds[label]["window"] if isinstance(thresholds[label], dict) else thresholds[label]
        prob, own = table[f"prob_{label}"], table[f"target_{label}"]
        for error, wrong in (("false alarm", (own == 0) & (prob >= limit)), ("miss", (own == 1) & (prob < limit))):
            part = table[wrong].assign(error=error, label=label, probability=prob[wrong], limit=limit, truth=truth[wrong], snr_db=table.loc[wrong, f"snr_{label}"] if f"snr_{label}" in table and
                                       error == "miss" else np.nan)
            part = part.assign(badness=(part["probability"] - limit).abs()).sort_values("badness", ascending=False, kind="stable")
            rows.append(apart(part, window_s, each))
    worst = pd.concat(rows, ignore_index=True)
    return worst[["error", "label", "recording", "start_s", "probability", "limit", "truth", "snr_db", *(f"prob_{label}" for label in labels)]]


def apart(part: pd.DataFrame, window_s: float, most: int) -> pd.DataFrame:
    """The first `most` rows of which no two overlap in one recording."""
    chosen: list[int] = []
    seen: dict[str, list[float]] = {}
    for at, (name, start_s) in enumerate(zip(part["recording"], part["start_s"])):
        if len(chosen) == most:
            break
        if all(abs(start_s - other) >= window_s for other in seen.get(name, [])):
            seen.setdefault(name, []).append(start_s)
            chosen.append(at)
    return part.iloc[chosen]


@dataclass
class Kept:
    """Pictures of windows: level_db (n, frames, bands) with NaN where nothing was recorded; first_s, where each begins in its recording; frequencies of the bands."""

    at: dict[tuple[str, float], int]
    level_db: np.ndarray
    first_s: np.ndarray
    frame_rate_hz: float
    band_hz: np.ndarray
    window_s: float

    def of(self, recording: str, start_s: float) -> int | None:
        """The number of a window's picture; None where it was not kept."""
        return self.at.get((recording, round(float(start_s), 3)))


def keep_worst(folder: str | Path, worst: pd.DataFrame, data: DataSet) -> Path:
    """Write the pictures and the selection table of `worst` (recording, start_s, error, label, probability, limit, ...); each label's very worst first, as far as `LARGEST` goes."""
    folder, profile = Path(folder), data.profile
    described = data.manifest.drop_duplicates("recording").set_index("recording")
    before = round(MARGIN_S * profile.frame_rate_hz)
    frames = profile.window_frames + 2 * before
    rank = worst.groupby(["label", "error"]).cumcount()
    rows = worst.iloc[np.argsort(rank.to_numpy(), kind="stable")].drop_duplicates(["recording", "start_s"]).head(LARGEST // (frames * profile.n_bands))
    levels, lowest, first = np.full((len(rows), frames, profile.n_bands), MASKED, np.uint8), np.zeros(len(rows), np.float32), np.zeros(len(rows))
    for k, (name, start_s) in enumerate(zip(rows["recording"], rows["start_s"])):
        whole = data.picture(described.loc[name, "picture"])
        begin = round(float(start_s) * profile.frame_rate_hz) - before
        here = np.array(whole[max(begin, 0):begin + frames, :profile.n_bands])
        seen = np.isfinite(here)
        lowest[k], first[k] = here[seen].min() if seen.any() else 0, begin / profile.frame_rate_hz
        steps = np.clip(np.rint((np.where(seen, here, lowest[k]) - lowest[k]) / STEP_DB), 0, MASKED - 1).astype(np.uint8)
        offset = max(-begin, 0)
        levels[k, offset:offset + len(here)] = np.where(seen, steps, MASKED)
    np.savez_compressed(folder / PICTURES, recording=rows["recording"].to_numpy(str), start_s=rows["start_s"].to_numpy(float), level=levels, lowest_db=lowest, first_s=first,
                        frame_rate_hz=profile.frame_rate_hz, band_hz=profile.band_centres_hz, window_s=profile.window_s)
    write_selections(folder / SELECTIONS, worst, data)
    return folder / PICTURES


def write_selections(path: Path, worst: pd.DataFrame, data: DataSet) -> None:
    """The windows as a Raven selection table of all their recordings in order; Begin File and File Offset say where each lies in its own."""
    profile = data.profile
    band = {label: profile.label_info[label]["band_hz"] for label in profile.labels}
    table = worst.assign(end_s=worst["start_s"] + profile.window_s, low_hz=[band[label][0] for label in worst["label"]], high_hz=[band[label][1] for label in worst["label"]])
    for name in table.select_dtypes("float64").columns.difference(["start_s", "end_s", "low_hz", "high_hz"]):
        table[name] = table[name].round(3)
    names = list(dict.fromkeys(table["recording"]))
    rows = data.manifest.drop_duplicates("recording").set_index("recording").loc[names]
    length_s = rows["duration_s"].to_numpy(float) if "duration_s" in rows else np.array([len(data.picture(name)) / profile.frame_rate_hz for name in rows["picture"]])
    length_s = np.maximum(length_s, table.groupby("recording", sort=False)["end_s"].max().loc[names].to_numpy())
    write_raven(table, path, pd.DataFrame({"recording": names, "duration_s": length_s, "sample_rate_hz": rows["sample_rate_hz"].to_numpy(float)}))


def read_worst(folder: str | Path) -> Kept | None:
    """The kept pictures of a results folder; None for a folder of older code."""
    path = Path(folder) / PICTURES
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        level = kept["level"]
        level_db = np.where(level == MASKED, np.float32(np.nan), kept["lowest_db"][:, None, None] + np.float32(STEP_DB) * level)
        at = {(str(name), round(float(start_s), 3)): k for k, (name, start_s) in enumerate(zip(kept["recording"], kept["start_s"]))}
        return Kept(at, level_db, kept["first_s"], float(kept["frame_rate_hz"]), kept["band_hz"], float(kept["window_s"]))


def not_kept(folder: str | Path) -> str:
    """What to say where there are no pictures."""
    name = Path(folder).name
    return f"results/{name} holds no pictures of its errors ({PICTURES}; it is of older code): `python -m training.worst {name}` adds them where its data are, `make experiment NAME={name} ARGS=--again` in any case."


def worst_of(folder: str | Path) -> pd.DataFrame:
    """The worst windows of a results folder with windows, or the worst clips of one with clips, from its tables alone."""
    import json

    from training.evaluate import judged_rows

    folder = Path(folder)
    metrics, table = json.loads((folder / "metrics.json").read_text(encoding="utf-8")), pd.read_parquet(folder / "predictions.parquet")
    labels = tuple(metrics["labels"])
    if metrics.get("kind") == "clips":
        from training.clip_verdict import worst_clips

        return worst_clips(table[table["variant"] == table["variant"].iloc[0]], labels, metrics["pool"])
    return worst_windows(judged_rows(table, "test"), metrics["thresholds"], labels, metrics.get("window_s", 1.0))


def main(names: list[str], results: Path, data_dir: Path) -> int:
    """Keep the pictures of folders that lack them; 2 where one cannot be had."""
    from training.clip_experiment import clip_data
    from training.experiment import data_of
    from training.spec import BadExperiment, Experiment
    import yaml

    for name in names:
        try:
            spec = Experiment.from_dict(yaml.safe_load((results / name / "parameters.yaml").read_text(encoding="utf-8")))
            if spec.kind not in ("simulated", "annotations", "clips"):
                raise BadExperiment(f"{name}: an experiment of kind {spec.kind} keeps no pictures of its errors; give one with windows or clips")
            data = clip_data(spec, spec.front_end(), data_dir / "clips")[1] if spec.kind == "clips" else data_of(spec, data_dir)[0]
            print(f"{name}: {keep_worst(results / name, worst_of(results / name), data)}; execute its analysis again to see them")
        except (BadExperiment, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    from training.run import RESULTS, ROOT

    sys.exit(main(sys.argv[1:], RESULTS, ROOT / "data"))
