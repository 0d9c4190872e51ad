"""How well boxes cover known calls: the half-coverage rule.

A call counts as found when boxes that share some of its frequencies cover at least half of its length (the rule of the beluga detector in
JASA 156(6):3723, 2024).
"""

import numpy as np


def covered_share(calls, boxes):
    """Share of each call's length that lies under boxes.

    Parameters
    ----------
    calls, boxes : DataFrames with start_s, end_s, low_hz, high_hz, of one recording

    Returns
    -------
    (calls,) float, 0..1. Boxes that overlap each other count once.
    """
    spans = boxes[["start_s", "end_s", "low_hz", "high_hz"]].to_numpy(dtype=float)
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    shares = np.zeros(len(calls))
    for i, (start_s, end_s, low_hz, high_hz) in enumerate(calls[["start_s", "end_s", "low_hz", "high_hz"]].to_numpy(dtype=float)):
        near = spans[(spans[:, 0] < end_s) & (spans[:, 1] > start_s) & (spans[:, 2] < high_hz) & (spans[:, 3] > low_hz)]
        starts, ends = np.maximum(near[:, 0], start_s), np.minimum(near[:, 1], end_s)
        before = np.maximum.accumulate(np.concatenate([[start_s], ends]))[:-1]  # how far earlier boxes reach
        shares[i] = np.maximum(ends - np.maximum(starts, before), 0).sum() / max(end_s - start_s, 1e-9)
    return shares
