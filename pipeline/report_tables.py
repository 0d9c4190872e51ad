"""The tables of a run as its report needs them: read once, and what follows from them worked out when it is first asked for."""
from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path

import pandas as pd

from pipeline.effort import NO_SERIAL, with_places
from pipeline.events import call_labels
from pipeline.flags import passes
from pipeline.minutes import event_labels
from pipeline.presence import minutes_with, presence
from pipeline.simulated import root_of, simulated_recordings
from pipeline.tables import TABLES, read_provenance
from spectrogram.names import zone
from spectrogram.profile import load_profile

ROOT = Path(__file__).resolve().parents[1]
VESSEL = "Boat"


class Deployment:
    """The tables of an output folder, and what is derived from them. `events` are those that pass (`pipeline.flags`), `marked` the others.

    Parameters
    ----------
    output : folder with events, effort, levels and windows as Parquet. audio : folder (or file) of the recordings; none, or gone: no pictures, no sound.
    site : name for all recordings; or sites : serial or folder -> name. time_zone : IANA name of local time (none: TIMEZONE, else UTC).
    position : (latitude, longitude) in degrees: night is shaded. n_events : how many of the best, and of the most doubtful events are shown.

    Raises
    ------
    FileNotFoundError
        for a folder without tables; ValueError for an unknown time zone or a recording without a site.
    """

    def __init__(self, output, audio=None, site: str | None = None, sites: dict | None = None, time_zone: str | None = None, position=None, n_events: int = 6):
        self.output, self.audio = Path(output), Path(audio) if audio else None
        lacking = [f"{t}.parquet" for t in TABLES if t != "regions" and not (self.output / f"{t}.parquet").is_file()]  # which older runs have not
        if lacking:
            raise FileNotFoundError(f"{self.output}: no {', '.join(lacking)}; run python -m pipeline INPUT {self.output} first")
        self.zone_name = time_zone or os.environ.get("TIMEZONE") or "UTC"
        self.clock, self.position, self.n_events = zone(self.zone_name), position, n_events
        if position is not None and not (-90 <= position[0] <= 90 and -180 <= position[1] <= 180):
            raise ValueError(f"position {tuple(position)}: give latitude (-90 to 90) and longitude (-180 to 180, east positive) in degrees")
        self.effort = with_places(pd.read_parquet(self.output / "effort.parquet"), site or sites)
        self.all_events = pd.read_parquet(self.output / "events.parquet")
        pass_ = passes(self.all_events)
        self.events, self.marked = self.all_events[pass_].reset_index(drop=True), self.all_events[~pass_].reset_index(drop=True)
        self.made = {table: read_provenance(self.output / f"{table}.parquet") for table in TABLES if (self.output / f"{table}.parquet").is_file()}
        self.thresholds = self.made["windows"].get("thresholds", {})
        named, places = bool(site or sites or "site" in pd.read_parquet(self.output / "effort.parquet").columns), sorted(self.effort["site"].unique())
        self.title = ", ".join(places[:-1]) + " and " * (len(places) > 1) + "".join(places[-1:])
        if places and not named:
            self.title = "Recordings without a serial" if places == [NO_SERIAL] else f"Recorder{'s' * (len(places) > 1)} {self.title}"

    @cached_property
    def profile(self):
        try:
            return load_profile(self.made["events"].get("profile"))
        except FileNotFoundError:  # a profile of the user's own, not at hand here
            return load_profile("beluga")

    @cached_property
    def labels(self) -> list[str]:
        found = event_labels(self.events)
        return [x for x in call_labels(self.profile) if x in found] or found

    @cached_property
    def heard(self) -> pd.DataFrame:
        return self.effort[self.effort["duration_s"] > 0]

    @cached_property
    def dated(self) -> pd.DataFrame:
        return self.heard[self.heard["start_utc"].notna()]

    @cached_property
    def vessels(self) -> pd.DataFrame | None:
        """Minutes with vessel noise, where the windows tell them."""
        if VESSEL not in self.thresholds:
            return None
        return minutes_with(self.output / "windows.parquet", VESSEL, self.thresholds[VESSEL]["window"])

    def over_time(self, unit: str) -> pd.DataFrame:
        """Presence of all labels, and of vessels."""
        tables = [presence(self.events, self.effort, unit, labels=self.labels, time_zone=self.zone_name)]
        if self.vessels is not None:
            tables.append(presence(self.vessels, self.effort, unit, labels=[VESSEL], time_zone=self.zone_name))
        names = [*self.labels, VESSEL]
        return pd.concat([t.astype({"site": "str", "label": "str"}) for t in tables], ignore_index=True).sort_values("label", key=lambda c: c.map(names.index), kind="stable", ignore_index=True)

    @cached_property
    def hourly(self) -> pd.DataFrame:
        return self.over_time("hour")

    @cached_property
    def unit(self) -> str:
        """Hours for some days, days for some months, weeks for years."""
        days = (self.dated["end_utc"].max() - self.dated["start_utc"].min()).total_seconds() / 86400 if len(self.dated) else 0
        return "hour" if days <= 4 else "day" if days <= 150 else "week" if days <= 900 else "month"

    @cached_property
    def model_info(self) -> dict:
        """What the model's own folder in results/ says of it; empty where it is not at hand."""
        wanted = self.made["events"].get("model_id")
        for path in sorted((ROOT / "results").glob("*/model.json")):
            info = json.loads(path.read_text(encoding="utf-8"))
            if wanted and info.get("model_id") == wanted:
                return info | {"folder": path.parent.relative_to(ROOT).as_posix()}
        return {}

    @cached_property
    def species_info(self) -> dict:
        """What the species model's own folder says of it, if it was asked and is at hand."""
        wanted = self.made["events"].get("settings", {}).get("species")
        path = ROOT / "results" / f"{self.profile.name}_species" / "species_metrics.json"
        try:
            info = json.loads(path.with_name("species.json").read_text(encoding="utf-8"))
            return json.loads(path.read_text(encoding="utf-8"))["score"] if wanted and info["model_id"] == wanted else {}
        except (OSError, ValueError, KeyError):
            return {}

    @cached_property
    def simulation(self) -> tuple[list[str], pd.DataFrame]:
        """Names of the recordings that were simulated, and the truth of what is in them."""
        return simulated_recordings(self.effort, root_of(self.output, self.audio))

    def local(self, time) -> str:
        return "unknown" if pd.isna(time) else f"{time.tz_convert(self.clock):%Y-%m-%d %H:%M:%S}"
