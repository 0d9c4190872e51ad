"""Annotations to crowsetta's objects and back, for the programs that work with them.

    boxes = to_crowsetta(read_annotations("/data/2022 BSM"))       # one crowsetta.Annotation for
    each recording
    table = from_crowsetta(crowsetta.Transcriber("raven").from_file("a.txt").to_annot())

crowsetta (vocalpy) is not needed otherwise: `pip install crowsetta`. It knows neither channels nor
annotators nor further columns: they stay behind on the way there. Times are
seconds from the recording's start, frequencies Hz.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.annotations import empty_annotations
from preprocessing.text_table import TYPES


def to_crowsetta(annotations: pd.DataFrame) -> list:
    """One `crowsetta.Annotation` for each recording, in the order in which they come.

    Bounding boxes where every annotation of the recording has both bounds, else a sequence of
    segments; its `annot_path` is the first file that tells of the recording.

    Raises
    ------
    ImportError
        without crowsetta. ValueError, naming the recording, for an annotation that ends where it
        begins: crowsetta has no instants.
    """
    crowsetta = _crowsetta()
    return [
        _annotation(crowsetta, name, rows)
        for name, rows in annotations.groupby("recording", sort=False)
    ]


def from_crowsetta(annotations) -> pd.DataFrame:
    """The annotation table (see `preprocessing.annotations`) of one `crowsetta.Annotation` or
    several.

    Raises
    ------
    ImportError
        without crowsetta. ValueError, naming the file, where times are in samples only, or no
        recording is named.
    """
    crowsetta = _crowsetta()
    one = isinstance(annotations, crowsetta.Annotation) or not isinstance(annotations, Iterable)
    tables = [_table(annotation) for annotation in ([annotations] if one else annotations)]
    joined = pd.concat([empty_annotations(), *tables], ignore_index=True).astype(TYPES)
    joined.attrs = {"notes": []}
    return joined


def _crowsetta():
    try:
        import crowsetta
    except ImportError:
        raise ImportError("crowsetta is not installed; pip install crowsetta") from None
    return crowsetta


def _annotation(crowsetta, name: str, rows: pd.DataFrame):
    if (rows["end_s"] <= rows["start_s"]).any():
        line = rows.loc[rows["end_s"] <= rows["start_s"], "start_s"].iloc[0]
        raise ValueError(
            f"{name}: an annotation at {line:g} s has no length, which crowsetta cannot hold; "
            "give it one"
        )
    source = next((text for text in rows["source"] if text), name)
    if rows[["low_hz", "high_hz"]].notna().to_numpy().all():
        boxes = [
            crowsetta.BBox(
                onset=row.start_s,
                offset=row.end_s,
                low_freq=row.low_hz,
                high_freq=row.high_hz,
                label=row.label,
            )
            for row in rows.itertuples()
        ]
        return crowsetta.Annotation(annot_path=source, notated_path=name, bboxes=boxes)
    sequence = crowsetta.Sequence.from_keyword(
        labels=rows["label"].to_numpy(str),
        onsets_s=rows["start_s"].to_numpy(float),
        offsets_s=rows["end_s"].to_numpy(float),
    )
    return crowsetta.Annotation(annot_path=source, notated_path=name, seq=sequence)


def _table(annotation) -> pd.DataFrame:
    source = str(annotation.annot_path)
    if annotation.notated_path is None:
        raise ValueError(
            f"{source}: does not say which recording it is about; give the annotation a "
            "notated_path"
        )
    boxes = getattr(annotation, "bboxes", None)
    if boxes is not None:
        rows = [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes]
    else:
        sequences = annotation.seq if isinstance(annotation.seq, list) else [annotation.seq]
        rows = [
            (segment.onset_s, segment.offset_s, np.nan, np.nan, segment.label)
            for sequence in sequences
            for segment in sequence.segments
        ]
    if any(start is None for start, *_ in rows):
        raise ValueError(
            f"{source}: its times are in samples only; give onsets and offsets in seconds"
        )
    table = pd.DataFrame(rows, columns=["start_s", "end_s", "low_hz", "high_hz", "label"])
    name = Path(annotation.notated_path).as_posix()
    return table.assign(
        recording=name, channel=0, annotator="", source=source, line=np.arange(1, len(table) + 1)
    )[list(TYPES)]
