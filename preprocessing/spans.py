"""What was looked through: stretches of recordings in which every call of a label was annotated, so that silence there is silence."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.recordings import RecordingIndex

COLUMNS = {"recording": "str", "label": "str", "start_s": "float64", "end_s": "float64"}
LEAST_S = 1e-6  # shorter stretches, and gaps between stretches, come from rounding


def exhaustive_spans(exhaustive, recordings: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """What was looked through: recording, label, start_s, end_s, no two of a label overlapping.

    Parameters
    ----------
    exhaustive : True for all recordings; a recording or a list of them; a table of recording and, where only a part was, start_s and end_s, and, where
        only one label was looked for there, label; False or None for nothing.
    recordings : recording, duration_s. labels : those that were looked for.

    Raises
    ------
    ValueError
        for a recording or a label that is not there.
    """
    if exhaustive is None or exhaustive is False:
        exhaustive = []
    elif exhaustive is True:
        exhaustive = recordings["recording"]
    elif isinstance(exhaustive, str):
        exhaustive = [exhaustive]
    given = exhaustive if isinstance(exhaustive, pd.DataFrame) else pd.DataFrame({"recording": pd.Series(list(exhaustive), dtype="str")})
    index = RecordingIndex(recordings)
    names = pd.Series([index.find(str(text)) for text in given["recording"]], given.index, dtype=object)
    if names.isna().any():
        raise ValueError(f"looked through is {given['recording'][names.isna()].iloc[0]!r}, which is not among the recordings; correct the name or add the file")
    told = {"start_s": 0.0, "end_s": np.inf, "label": ""}
    told = {column: given[column].fillna(other) if column in given else pd.Series(other, given.index) for column, other in told.items()}
    unknown = set(told["label"]) - {"", *labels}
    if unknown:
        raise ValueError(f"looked through for {sorted(unknown)[0]!r}, which is not among the labels looked for ({', '.join(labels)}); correct it or add it there")
    found: dict[tuple[str, str], list] = {}
    for name, start_s, end_s, label in zip(names, told["start_s"].astype(float), told["end_s"].astype(float), told["label"]):
        for one in labels if not label else [label]:
            found.setdefault((name, one), []).append((max(start_s, 0.0), min(end_s, index.duration_s[name])))
    rows = [(*key, start_s, end_s) for key, mine in found.items() for start_s, end_s in merged(np.array(mine))]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def merged(spans: np.ndarray) -> np.ndarray:
    """(n, 2) starts and ends -> (m, 2), in order; what overlaps or touches is made one, what is empty is left out."""
    out: list[list[float]] = []
    for start, end in spans[np.argsort(spans[:, 0], kind="stable")]:
        if out and start <= out[-1][1] + LEAST_S:
            out[-1][1] = max(out[-1][1], end)
        elif end > start:
            out.append([start, end])
    return np.array(out).reshape(-1, 2)


def by_recording_and_label(spans: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(recording, label) -> (n, 2) starts and ends."""
    return {key: mine[["start_s", "end_s"]].to_numpy() for key, mine in spans.groupby(["recording", "label"])}


def between(spans: np.ndarray, duration_s: float) -> list[tuple[float, float]]:
    """What of a recording lies outside its spans."""
    edges = np.concatenate([[0.0], spans.ravel(), [duration_s]]).reshape(-1, 2)
    return [(start, end) for start, end in edges.tolist() if end - start > LEAST_S]
