"""Instants as people write them in tables -> UTC.

A text with `Z` or an offset says its zone itself; any other is on the clock that the reader is told. Read are ISO 8601, 6/23/2017 14:05:09 (month first, unless
told), 23-Jun-2017 14:05:09, 20170623_140509 and the recorders' 170623140509, with or without fractions of a second; and a spreadsheet's day numbers, days since 1899-12-30,
which are rounded to the millisecond.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from spectrogram.names import zone

SAYS_ZONE = r"(?:Z|UTC|GMT|(?<=:\d\d)[+-]\d\d:?\d\d|(?<=\.\d)\d*[+-]\d\d:?\d\d)\s*$"
CLOCKS = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
DAYS = {False: ("%m/%d/%Y", "%m/%d/%y"), True: ("%d/%m/%Y", "%d/%m/%y")}  # by day_first
OTHER = ("%d-%b-%Y", "%d %b %Y", "%Y/%m/%d")
IN_ONE = ("%Y%m%d%H%M%S", "%Y%m%d_%H%M%S", "%Y%m%dT%H%M%S", "%y%m%d%H%M%S", "%y%m%d_%H%M%S")
SPREADSHEET_DAYS = (30000, 60000)  # 1982 to 2064


def utc_times(texts, clock: str | None = "UTC", day_first: bool = False) -> pd.Series:
    """(n,) `datetime64[us, UTC]` of the texts; NaT for what is no instant.

    Parameters
    ----------
    clock : time zone (IANA name) of texts that do not say theirs. An hour that this clock skips or repeats gives NaT: nobody knows when it was.
    day_first : 6/7/2017 is the sixth of July.

    >>> utc_times(["2017-06-23 14:05:09", "6/23/2017 14:05:09", "2017-06-23T06:05:09-08:00"]).nunique()
    1
    """
    texts = pd.Series(list(texts), dtype="str").str.strip()
    aware = texts.str.contains(SAYS_ZONE, regex=True)
    out = pd.Series(pd.NaT, texts.index, dtype="datetime64[us, UTC]")
    if aware.any():
        plain = texts[aware].str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
        out[aware] = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce").astype(out.dtype)
    if not aware.all():
        local = _local_times(texts[~aware], day_first)
        out[~aware] = local.dt.tz_localize(zone(clock), ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC").astype(out.dtype)
    return out


def looks_day_first(texts) -> bool:
    """True if some text reads as a time only when the day stands first (23/6/2017)."""
    texts = pd.Series(list(texts), dtype="str").str.strip()
    texts = texts[~texts.str.contains(SAYS_ZONE, regex=True)]
    return bool((_local_times(texts, False).isna() & _local_times(texts, True).notna()).any())


def _local_times(texts: pd.Series, day_first: bool) -> pd.Series:
    """Times without a zone."""
    in_days = pd.to_numeric(texts, errors="coerce").where(lambda days: days.between(*SPREADSHEET_DAYS))
    out = (pd.Timestamp("1899-12-30") + pd.to_timedelta(np.round(in_days * 86400e3), unit="ms")).astype("datetime64[us]")
    iso = texts.str.contains(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d", regex=True)
    if iso.any():
        out[iso] = pd.to_datetime(texts[iso], format="ISO8601", errors="coerce").astype(out.dtype)
    for form in [*(f"{day} {time}" for day in (*DAYS[day_first], *OTHER) for time in CLOCKS), *IN_ONE]:
        left = out.isna()
        if not left.any():
            break
        out[left] = pd.to_datetime(texts[left], format=form, errors="coerce").astype(out.dtype)
    return out
