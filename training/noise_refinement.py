"""Which noise segments are none? What annotators passed over lies among the "noise" that is cut between their annotations; a classifier finds it.

    table = refined_clips("data/humpbacks", load_profile("humpback"))       # of `preprocessing.acquire`
    table[table["kept"]]

A logistic regression on statistics of the picture tells calls from noise segments, each judged by one that knew nothing of its recording. A noise segment is dropped where it looks more
like a call than the least call-like fifth of the annotated calls does: `kept` is false. What is left holds fewer calls, not none.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.acquire import read_clips
from preprocessing.dataset import DataSet, pad_to_windows
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from training.baseline import filled, middle_of, statistics
from training.metrics import average_precision, bootstrap, roc_auc

AS_CALLS = 0.8  # a noise segment is dropped that scores as high as the upper 80 % of the annotated calls
FOLDS = 4


def call_scores(x: np.ndarray, is_call: np.ndarray, groups: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """(n,) how much each segment looks like a call, 0 to 1, by a classifier that was trained on other groups.

    Parameters
    ----------
    x : (n, features) statistics of the picture, NaN for bands that were not recorded. is_call : (n,) bool, what was annotated; the rest is called noise. groups : (n,) recordings.

    Raises
    ------
    ValueError
        where there are no calls, no noise, or only one group.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_call, groups = np.asarray(is_call, bool), np.asarray(groups)
    if is_call.all() or not is_call.any() or len(np.unique(groups)) < 2:
        raise ValueError(f"{int(is_call.sum())} calls and {int((~is_call).sum())} noise segments of {len(np.unique(groups))} recordings; calls, noise and two recordings are needed")
    scores = np.full(len(x), np.nan)
    for train, test in GroupKFold(min(folds, len(np.unique(groups)))).split(x, is_call, groups):
        if len(np.unique(is_call[train])) < 2:
            raise ValueError("the recordings that are left hold only calls, or only noise; give more recordings")
        known, model = filled(x, middle_of(x[train])), make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=300, class_weight="balanced"))
        scores[test] = model.fit(known[train], is_call[train]).predict_proba(known[test])[:, 1]
    return scores


def kept(scores: np.ndarray, is_call: np.ndarray, as_calls: float = AS_CALLS) -> np.ndarray:
    """(n,) bool: calls, and noise segments that score below the upper `as_calls` of the calls."""
    limit = np.quantile(scores[is_call], 1 - as_calls)
    return np.asarray(is_call, bool) | (scores < limit)


def refined_clips(folder: str | Path, profile: Profile, as_calls: float = AS_CALLS) -> pd.DataFrame:
    """The clips that `preprocessing.acquire` cut into `folder`, with `score` and `kept`. A clip longer than a window is seen by its first one."""
    clips, generator = read_clips(folder), SpectrogramGenerator(profile)
    pictures = [pad_to_windows(generator.picture(Path(folder) / file), profile)[:profile.window_frames] for file in clips["file"]]
    is_call = (clips["kind"] == "call").to_numpy()
    scores = call_scores(statistics(np.stack(pictures), profile), is_call, clips["recording"].to_numpy())
    return clips.assign(score=scores, kept=kept(scores, is_call, as_calls))


def passed_over(data: DataSet, profile: Profile, share: float, seed: int = 0) -> pd.DataFrame:
    """A trial with known truth: a `share` of the annotations is forgotten, and what lies in windows without any annotation is called noise.

    Returns
    -------
    A row per window: recording, start_s, is_call (still annotated), forgotten (noise by the annotations, with a forgotten call in it), score, kept.
    """
    rng, calls = np.random.default_rng(seed), data.calls[data.calls["audible"]].reset_index(drop=True)
    gone = pd.Series(rng.uniform(size=len(calls)) < share, index=calls.index)
    table = data.manifest[["recording", "start_s", "picture", "start_frame"]].reset_index(drop=True)
    touched = {True: np.zeros(len(table), bool), False: np.zeros(len(table), bool)}
    for call, forgotten in zip(calls.itertuples(), gone):
        touched[forgotten] |= ((table["recording"] == call.recording) & (table["start_s"] < call.end_s) & (table["start_s"] + profile.window_s > call.start_s)).to_numpy()
    is_call, forgotten = touched[False], touched[True] & ~touched[False]
    x = statistics(data.windows(table), profile)
    scores = call_scores(x, is_call, table["recording"].to_numpy())
    return table[["recording", "start_s"]].assign(is_call=is_call, forgotten=forgotten, score=scores.astype(np.float32), kept=kept(scores, is_call))


def refinement_metrics(table: pd.DataFrame, draws: int = 200) -> dict:
    """What was found of a trial's forgotten calls.

    Returns
    -------
    segments, forgotten (counts), before and after (share of the noise segments that hold a forgotten call), kept_share (of the true noise), average_precision and roc_auc of the score
    for forgotten against true noise; and the 95 % interval over recordings of `after` - `before`.
    """
    noise = table[~table["is_call"]].reset_index(drop=True)
    hidden, left, score, groups = (noise[c].to_numpy() for c in ("forgotten", "kept", "score", "recording"))

    def change(rows):
        after = hidden[rows][left[rows]]
        return after.mean() - hidden[rows].mean() if len(after) else np.nan

    return {"segments": len(noise), "forgotten": int(hidden.sum()), "before": float(hidden.mean()), "after": float(hidden[left].mean()) if left.any() else np.nan,
            "kept_share": float(left[~hidden].mean()), "average_precision": average_precision(hidden.astype(float), score), "roc_auc": roc_auc(hidden.astype(float), score),
            "change": float(change(np.arange(len(noise)))), "change_interval": bootstrap(groups, change, draws)}
