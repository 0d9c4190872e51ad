"""Start time and hydrophone serial from a recording's file name.

Names carry no standard, so each pattern is one line of `PATTERNS`; a `Z` in the name means UTC, otherwise the recorder's clock
runs on the given time zone (UTC unless told). A SoundTrap's `.log.xml` beside the recording knows its UTC start and settles the zone.
"""
from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

# (what it is, pattern with groups serial?, date, time, frac?, zulu?)
PATTERNS = (
    ("SoundTrap", r"^(?P<serial>\d{3,})\.(?P<date>\d{6})(?P<time>\d{6})(?!\d)"),
    ("AMAR", r"^(?P<serial>AMAR[^.]*)\..*?(?P<date>\d{8})T(?P<time>\d{6})(?P<frac>\.\d+)?(?P<zulu>Z)?"),
    ("ISO 8601", r"(?<!\d)(?P<date>\d{8})T(?P<time>\d{6})(?P<frac>\.\d+)?(?P<zulu>Z)?(?!\d)"),
    ("ISO 8601", r"(?<!\d)(?P<date>\d{4}-\d\d-\d\d)[T_ ](?P<time>\d\d[-:_.]\d\d[-:_.]\d\d)(?P<frac>\.\d+)?(?P<zulu>Z)?(?!\d)"),
    ("AudioMoth", r"(?<!\d)(?P<date>\d{8})[_-](?P<time>\d{6})(?P<zulu>Z)?(?!\d)"),
    ("yymmdd", r"(?<!\d)(?P<date>\d{6})[_-](?P<time>\d{6})(?P<zulu>Z)?(?!\d)"),
    ("in one", r"(?<!\d)(?P<date>\d{8})(?P<time>\d{6})(?P<zulu>Z)?(?!\d)"),
    ("in one, short", r"(?<!\d)(?P<date>\d{6})(?P<time>\d{6})(?P<zulu>Z)?(?!\d)"),
)
SERIAL = re.compile(r"^(\d{3,})[._]")
AUDIOMOTH_HEX = re.compile(r"^([0-9A-F]{8})\.WAV$")  # always .WAV, as in 5AFFE5D0.WAV; the archive number 62018001.flac is no time
LOG_UTC = re.compile(r'SamplingStartTimeUTC="([^"]+)"')


def zone(name: str | tzinfo | None) -> tzinfo:
    """Time zone by IANA name; none means UTC.

    Raises
    ------
    ValueError
        for a name the time-zone database does not hold.
    """
    if name is None or name == "":
        return timezone.utc
    if isinstance(name, tzinfo):
        return name
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {name!r}: use UTC or a name such as America/Toronto") from None


def parse_name(file_name: str, clock: str | tzinfo | None = None) -> tuple[datetime | None, str | None]:
    """Start time (UTC, aware) and serial that a file name tells; None for what it does not.

    >>> parse_name("6872.220716021453.wav")
    (datetime.datetime(2022, 7, 16, 2, 14, 53, tzinfo=datetime.timezone.utc), '6872')
    """
    stem = Path(file_name).stem
    serial = SERIAL.match(stem)
    serial = serial.group(1) if serial else None
    for _, pattern in PATTERNS:
        found = re.search(pattern, stem)
        if not found:
            continue
        groups = found.groupdict()
        start = _moment(groups["date"], groups["time"], groups.get("frac"), timezone.utc if groups.get("zulu") else zone(clock))
        if start is not None:
            return start, groups.get("serial") or (serial if serial != groups["date"] else None)
    if AUDIOMOTH_HEX.match(Path(file_name).name):  # firmware before 1.2: seconds since 1970 in hexadecimal
        start = datetime.fromtimestamp(int(stem, 16), timezone.utc)
        if 2010 <= start.year <= 2030:
            return start, None
    return None, serial


def _moment(date: str, time: str, fraction: str | None, clock: tzinfo) -> datetime | None:
    digits = re.sub(r"\D", "", date) + re.sub(r"\D", "", time)
    try:
        local = datetime.strptime(digits, "%Y%m%d%H%M%S" if len(digits) == 14 else "%y%m%d%H%M%S")
        return (local.replace(tzinfo=clock) + timedelta(seconds=float(fraction or 0))).astimezone(timezone.utc)
    except (ValueError, OverflowError):  # month 13, hour 25: digits that are no date; the last second of year 9999
        return None


def soundtrap_log_start(path: Path) -> datetime | None:
    """UTC start (whole seconds) from the `.log.xml` that a SoundTrap writes beside `path`, if there is one."""
    for log in (path.with_suffix(".log.xml"), path.with_suffix(".xml")):
        if log.is_file():
            found = LOG_UTC.search(log.read_text(encoding="utf-8", errors="replace"))
            if found:
                try:
                    return datetime.fromisoformat(found.group(1)).replace(tzinfo=timezone.utc)
                except ValueError:
                    return None
    return None


def utc_times(start_utc: datetime | None, offsets_s):
    """Column of UTC times `offsets_s` seconds after `start_utc`, to the microsecond; NaT throughout when the start is unknown."""
    import pandas as pd

    offsets = np.rint(np.asarray(offsets_s, float) * 1e6).astype("timedelta64[us]")
    if start_utc is None:
        return pd.Series(pd.NaT, index=range(len(offsets)), dtype="datetime64[us, UTC]")
    start = np.datetime64(pd.Timestamp(start_utc).tz_convert("UTC").tz_localize(None), "us")
    return pd.Series(pd.DatetimeIndex(start + offsets).tz_localize("UTC"))
