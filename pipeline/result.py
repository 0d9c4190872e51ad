"""What a recording held: its tables, to be looked at or written."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.tables import TABLES, csv_text, raven_table, write_parquet, write_raven, write_text
from spectrogram.profile import Profile
from spectrogram.recording import Recording


@dataclass
class PipelineResult:
    """What a recording held.

    Attributes
    ----------
    events, windows, levels, effort : DataFrames, see README.md, "What comes out".
    regions : DataFrame of all regions of interest, named or not.
    metadata : dict: provenance, start, duration, rates, thresholds, missing labels, faults.
    """

    recording: Recording
    profile: Profile
    events: pd.DataFrame
    windows: pd.DataFrame
    levels: pd.DataFrame
    regions: pd.DataFrame
    effort: pd.DataFrame
    metadata: dict = field(default_factory=dict)

    def save(self, output_dir: str | Path, csv: bool = False, raven: bool = True) -> Path:
        """Write the tables into `output_dir` as `STEM.events.parquet` and so on; return the folder."""
        output_dir, stem = Path(output_dir), self.recording.path.stem
        for name in TABLES:
            frame = getattr(self, name)
            if csv:
                write_text(csv_text(frame), output_dir / f"{stem}.{name}.csv")
            write_parquet(frame, output_dir / f"{stem}.{name}.parquet", self.metadata["provenance"])
        if raven:
            write_raven(self.raven(), output_dir / f"{stem}.Table.1.selections.txt")
        return output_dir

    def raven(self) -> pd.DataFrame:
        """The events as a Raven selection table."""
        return raven_table(self.events, dict.fromkeys(self.events["recording"], self.recording.sample_rate_hz), calibrated=self.recording.calibrated)

    def plot(self, start_s: float = 0.0, end_s: float | None = None, ax=None):
        """A calibrated spectrogram of a passage with the events' boxes and names on it."""
        from pipeline.plots import plot_events

        return plot_events(self, start_s, end_s, ax=ax)
