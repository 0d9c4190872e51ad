"""The region head: from what a region looks like (`ROI.describe`) to a probability of each call label. A small network in plain arrays.

Saved with a model (`training.saved`): weights beside the network's own under names that begin with PREFIX, everything else under `regions` in `model.json`. Labels may share a region; none
of them is noise. It is learnt and its thresholds are chosen in `training.regions`.
"""

from dataclasses import dataclass

import numpy as np

PREFIX = "regions."
LEAST = 1e-5  # never certain
ARRAYS = ("mean", "scale", "weight_1", "bias_1", "weight_2", "bias_2", "slope", "intercept")


@dataclass
class RegionHead:
    """A learnt namer of regions.

    Attributes
    ----------
    labels : call labels, in the order of the answers. features : names of the inputs, as `ROI.describe.feature_names` gives them.
    thresholds : label -> probability from which a region carries it.
    far : root mean square of the standardised features beyond which a region is like nothing it was trained on.
    arrays : ARRAYS, float32: (features,) mean and scale, (features, hidden) and (hidden, labels) weights with their biases, (labels,) calibration.
    """

    labels: tuple
    features: list
    thresholds: dict
    far: float
    arrays: dict
    summary: dict

    def __post_init__(self):
        self._w = [np.asarray(self.arrays[name], np.float64) for name in ARRAYS]

    def predict(self, described):
        """Probabilities (regions, labels) float32 and distance from what it was trained on (regions,) float32, of described regions (regions, features)."""
        mean, scale, w1, b1, w2, b2, slope, intercept = self._w
        x = np.clip((described.astype(np.float64) - mean) / scale, -30, 30)
        distance = np.sqrt((x * x).mean(axis=1))
        x = np.clip(x, -4, 4)
        hidden = np.maximum(x @ w1 + b1, 0.0)
        logit = (hidden @ w2 + b2) * slope + intercept
        return np.clip(0.5 * (1 + np.tanh(0.5 * logit)), LEAST, 1 - LEAST).astype(np.float32), distance.astype(np.float32)

    def to_info(self):
        """What stands in `model.json`."""
        return {"labels": list(self.labels), "features": list(self.features), "thresholds": self.thresholds, "far": self.far, "summary": self.summary}

    @classmethod
    def from_info(cls, info, weights):
        """From `model.json` and the arrays under PREFIX. KeyError where one is missing."""
        return cls(tuple(info["labels"]), info["features"], info["thresholds"], info["far"], {name: weights[PREFIX + name] for name in ARRAYS}, info["summary"])
