"""The cheap baseline that stands beside every network: statistics of the picture, and a logistic regression for each label.

Mean, deviation, 10th and 95th percentile and maximum in time of every band of the normalised picture, standardised. No time
structure, no shape: what is not beaten by a wide margin is not worth a network.
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
    """(n, frames, bands) dB -> (n, 5 * bands) float32."""
    x = normalise(picture_db, profile)
    tenth, high = np.percentile(x[:, ::2], (10, 95), axis=1)
    return np.concatenate([x.mean(axis=1), x.std(axis=1), tenth, high, x.max(axis=1)], axis=1).astype(np.float32)


def features(data: DataSet, rows: pd.DataFrame, profile: Profile) -> np.ndarray:
    """`statistics` of the windows of manifest rows, read in pieces."""
    return np.concatenate([statistics(data.windows(rows.iloc[i:i + CHUNK]), profile) for i in range(0, len(rows), CHUNK)])


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
        x, target = x[chosen], target[chosen]
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
        each = [np.full(len(x), m) if isinstance(m, float) else m.predict_proba(x)[:, 1] for m in self.models]
        return np.stack(each, axis=1).astype(np.float32)

    def thresholds(self, x: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Thresholds of highest F1 on validation windows."""
        prob = self.predict(x)
        return {label: best_threshold(prob[:, k], target[:, k]) if len(x) else FALLBACK for k, label in enumerate(self.labels)}
