"""False alarms of a detector as examples of what is not a call: those that surely are false, and the windows that hold them."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import targets
from preprocessing.recordings import RecordingIndex
from preprocessing.spans import LEAST_S, by_recording_and_label, exhaustive_spans
from spectrogram.profile import Profile


def hard_negatives(events: pd.DataFrame, annotations: pd.DataFrame, exhaustive=True, recordings: pd.DataFrame | None = None, background: tuple[str, ...] = ("Boat",)) -> pd.DataFrame:
    """A detector's events that are surely false: all of the event was looked through for its label, and it meets no annotation.

    Parameters
    ----------
    events : recording, start_s, end_s, labels (joined by +), and whatever else (score_...). Those of other recordings are left out.
    annotations : recording, start_s, end_s, label, after the label map: `(unsure)` counts as an annotation, what the map dropped does not.
    exhaustive : as for `spans.exhaustive_spans`. recordings : recording, duration_s; None: all that are named, looked through whole.
    background : labels of long sounds that an event of another label may meet and still be false: a whistle heard in a boat's noise.

    Returns
    -------
    The events that are left, `labels` cut down to those that are surely false.
    """
    if recordings is None:
        recordings = pd.DataFrame({"recording": pd.unique(pd.concat([events["recording"], annotations["recording"]])), "duration_s": np.inf})
    index = RecordingIndex(recordings)
    claims = events.assign(event=range(len(events)), recording=[index.find(str(name)) for name in events["recording"]], label=events["labels"].str.split("+"))
    claims = claims.explode("label").dropna(subset=["recording", "label"])
    labels = {*claims["label"], *(exhaustive["label"].dropna() if isinstance(exhaustive, pd.DataFrame) and "label" in exhaustive else ())} - {""}
    looked = by_recording_and_label(exhaustive_spans(exhaustive, recordings, tuple(sorted(labels))))
    marked = dict(tuple(annotations.groupby("recording")))
    false = [_surely_false(claim, looked.get((claim.recording, claim.label)), marked.get(claim.recording), background) for claim in claims.itertuples()]
    kept = claims[np.array(false, bool)].groupby("event").agg({"recording": "first", "label": "+".join})
    out = events.iloc[kept.index].reset_index(drop=True)
    return out.assign(recording=kept["recording"].astype("str").to_numpy(), labels=kept["label"].astype("str").to_numpy())


def _surely_false(claim, looked: np.ndarray | None, marked: pd.DataFrame | None, background: tuple[str, ...]) -> bool:
    """True if one stretch that was looked through holds the whole event, and no annotation meets it."""
    if looked is None or not ((looked[:, 0] <= claim.start_s + LEAST_S) & (looked[:, 1] >= claim.end_s - LEAST_S)).any():
        return False
    if marked is None:
        return True
    meets = (marked["start_s"] <= claim.end_s) & (marked["end_s"] >= claim.start_s)
    return not (meets & (~marked["label"].isin(background) | (marked["label"] == claim.label))).any()


def mark_hard_negatives(manifest: pd.DataFrame, events: pd.DataFrame | None, profile: Profile) -> pd.DataFrame:
    """The manifest with `hard_negative`: true for windows that hold such an event, by the rule of `targets`, and whose target for one of its labels is 0."""
    hard = np.zeros(len(manifest), bool)
    if events is not None and len(events):
        claims = events.assign(label=events["labels"].str.split("+"), audible=True, snr_db=0.0).explode("label")
        places, all_labels = manifest.groupby("recording").indices, np.ones(len(profile.labels), bool)
        for name, mine in claims.groupby("recording"):
            rows = places.get(name, np.empty(0, int))
            held, _ = targets(mine, manifest["start_s"].to_numpy()[rows], profile.window_s, profile.labels, all_labels)
            absent = manifest[[f"target_{label}" for label in profile.labels]].to_numpy()[rows] == 0
            hard[rows] = ((held == 1) & absent).any(axis=1)
    return manifest.assign(hard_negative=hard)
