"""The cheap baseline that stands beside every network: statistics of the picture, and a logistic regression for each label.

Mean, deviation, 10th and 95th percentile and maximum in time of every band of the normalised picture, standardised. No time
structure, no shape: what is not beaten by a wide margin is not worth a network.

Only what was recorded counts. Frames after a clip's end are left out; a band that a recording does not have gets the middle of all training windows that have it, so that it speaks
for nothing: neither as a level nor by being absent, which would tell recorders apart and not animals.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.thresholds import FALLBACK, best_threshold, enough

CHUNK = 512


def statistics(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """(n, frames, bands) dB -> (n, 5 * bands) float32, NaN for a band of which a window recorded nothing."""
    x, seen = normalise(picture_db, profile), np.isfinite(picture_db)
    frames, bands = seen.any(axis=2), seen.any(axis=1)
    out, alike = np.full((len(x), 5, x.shape[2]), np.nan, np.float32), {}
    for k in range(len(x)):  # windows that recorded the same frames and bands go together
        alike.setdefault((frames[k].tobytes(), bands[k].tobytes()), []).append(k)
    for rows in alike.values():
        of, at = np.flatnonzero(frames[rows[0]]), np.flatnonzero(bands[rows[0]])
        if len(of):
            here = np.ix_(rows, of, at)
            out[np.ix_(rows, range(5), at)] = band_statistics(np.where(seen[here], x[here], np.nan) if not seen[here].all() else x[here]).reshape(len(rows), 5, len(at))
    return out.reshape(len(x), -1)


def band_statistics(x: np.ndarray) -> np.ndarray:
    """(n, frames, bands) -> (n, 5 * bands); a cell that is NaN all the same, a gap, is passed over."""
    mean, deviation, percentile, most = (np.nanmean, np.nanstd, np.nanpercentile, np.nanmax) if np.isnan(x).any() else (np.mean, np.std, np.percentile, np.max)
    tenth, high = percentile(x[:, ::2] if x.shape[1] > 1 else x, (10, 95), axis=1)
    return np.concatenate([mean(x, axis=1), deviation(x, axis=1), tenth, high, most(x, axis=1)], axis=1).astype(np.float32)


def features(data: DataSet, rows: pd.DataFrame, profile: Profile) -> np.ndarray:
    """`statistics` of the windows of manifest rows, read in pieces."""
    return np.concatenate([statistics(data.windows(rows.iloc[i:i + CHUNK]), profile) for i in range(0, len(rows), CHUNK)])


def middle_of(x: np.ndarray) -> np.ndarray:
    """(features,) median of what is known of each feature, 0 where nothing is."""
    known = np.isfinite(x).any(axis=0)
    middle = np.zeros(x.shape[1], np.float32)
    middle[known] = np.nanmedian(x[:, known], axis=0)
    return middle


def filled(x: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The features with what is not known at the middle."""
    return np.where(np.isnan(x), middle, x)


class Baseline:
    """One standardised logistic regression per label; NaN targets are left out; a label with too few examples always answers its share."""

    def __init__(self, labels: tuple, seed: int = 0, most: int = 8000):
        self.labels, self.seed, self.most = labels, seed, most

    def fit(self, x: np.ndarray, target: np.ndarray) -> "Baseline":
        """x (n, features), target (n, labels) with NaN; at most `most` windows are used."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        chosen = np.random.default_rng(self.seed).permutation(len(x))[:self.most]
        self.middle = middle_of(x[chosen])
        x, target = filled(x[chosen], self.middle), target[chosen]
        self.models = []
        for k in range(len(self.labels)):
            known = np.isfinite(target[:, k])
            if enough(target[known, k]):
                model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300)).fit(x[known], target[known, k])
            else:
                model = float(np.nanmean(target[:, k])) if known.any() else 0.0
            self.models.append(model)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n, labels) probabilities."""
        x = filled(x, self.middle)
        each = [np.full(len(x), m) if isinstance(m, float) else m.predict_proba(x)[:, 1] for m in self.models]
        return np.stack(each, axis=1).astype(np.float32)

    def thresholds(self, x: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Thresholds of highest F1 on validation windows."""
        prob = self.predict(x)
        return {label: best_threshold(prob[:, k], target[:, k]) if len(x) else FALLBACK for k, label in enumerate(self.labels)}
