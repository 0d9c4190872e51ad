"""What a region is: a probability of each call label, and which of them it is named.

A model with a region head (`ROI.head`) asks that. Without one, a region has of each label whose band it lies in the highest probability that the trace of moments reaches in
its time. A label that the recording's rate cannot show is missing (NaN).
"""
from __future__ import annotations

import numpy as np

from ROI.describe import describe, feature_names
from spectrogram.profile import Profile

IN_BAND = 0.5  # of a region's bands that have to lie in a label's, where the trace names it


def call_labels(profile: Profile) -> list[str]:
    """Labels that make events: all but the vessel's, which is a state of the water and stands in the windows table."""
    return [label for head, labels in profile.heads.items() if head != "vessel" for label in labels]


class Namer:
    """Names the regions of one recording.

    Attributes
    ----------
    labels : call labels, the order of its answers. shown : those that this recording can show and that have thresholds.
    head : the model's region head, or None.
    moments : labels of which the trace tells when, so that it can part what has grown into one region.
    limits : (labels,) probability from which a region carries a label; inf where it is not shown.
    """

    def __init__(self, profile: Profile, thresholds: dict, nyquist_hz: float, head=None, moments: tuple = ()):
        self.profile, self.thresholds, self.nyquist_hz, self.head, self.moments = profile, thresholds, nyquist_hz, head, moments
        self.labels = call_labels(profile)
        self.shown = [label for label in self.labels if label in thresholds and profile.observable(label, nyquist_hz)]
        key = "region" if head else "on"
        self.limits = np.array([thresholds[label].get(key, thresholds[label]["on"]) if label in self.shown else np.inf for label in self.labels])
        names = feature_names(profile)
        self.columns = [names.index(feature) for feature in head.features] if head else []  # a head of before has fewer
        self.missing = np.array([not profile.observable(label, nyquist_hz) for label in self.labels])

    def name(self, boxes: np.ndarray, near: np.ndarray, scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """prob (n, labels) float32, named (n, labels) bool, far (n,) bool of BOX records; `near`: all regions about them. See `Regions`."""
        if self.head:
            prob, distance = self.head.predict(describe(boxes, near, scene, self.profile)[:, self.columns])
            prob, far = prob[:, [self.head.labels.index(label) for label in self.labels]], distance > self.head.far
        else:
            prob, far = self._of_trace(boxes, scene), np.zeros(len(boxes), bool)
        prob[:, self.missing] = np.nan
        with np.errstate(invalid="ignore"):
            return prob, prob >= self.limits, far

    def _of_trace(self, boxes: np.ndarray, scene) -> np.ndarray:
        """Highest probability of the trace in each region's time, 0 where the region lies outside the label's band."""
        profile, n = self.profile, len(scene.logit)
        first = np.clip(np.floor((boxes["start_s"] - scene.trace_start_s) * scene.trace_rate_hz + 1e-6).astype(int), 0, n - 1)
        last = np.clip(np.ceil((boxes["end_s"] - scene.trace_start_s) * scene.trace_rate_hz - 1e-6).astype(int), first + 1, n)
        padded = np.concatenate([scene.logit, scene.logit[-1:]])
        highest = np.maximum.reduceat(padded, np.stack([first, last], axis=1).ravel(), axis=0)[::2]
        prob = 1 / (1 + np.exp(-highest))
        out = np.zeros((len(boxes), len(self.labels)), np.float32)
        for k, label in enumerate(self.labels):
            low, high = profile.label_band_hz[label]
            centres = profile.band_centres_hz
            inside = np.array([((centres > a) & (centres < z) & (centres >= low) & (centres <= high)).sum() for a, z in zip(boxes["low_hz"], boxes["high_hz"])])
            all_of = np.array([((centres > a) & (centres < z)).sum() for a, z in zip(boxes["low_hz"], boxes["high_hz"])])
            out[:, k] = np.where(inside >= IN_BAND * np.maximum(all_of, 1), prob[:, profile.labels.index(label)], 0.0)
        return out
