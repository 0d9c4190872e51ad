"""Instants as people write them in tables -> UTC.

A text with `Z` or an offset (-08:00, +1030, +10, UTC-4) says its zone itself; any other is on the
clock that the reader is told. Read are ISO 8601, 6/23/2017 14:05:09 (month
first, unless told: `day_orders` says whether that has to be asked), 23-Jun-2017 14:05:09, 20170623_140509 and the recorders' 170623140509, with or
without fractions of a second; and a spreadsheet's day numbers, days since
1899-12-30 (or the day that the workbook says), which are rounded to the millisecond.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from spectrogram.names import YEARS, zone

SAYS_ZONE = (r"^(?P<local>.*(?:\d:\d\d|\d{6}|\d[T_]\d{4})(?:[.,]\d+)?(?:\s*[AaPp][Mm])?)\s*"  # up to a time of day, then
             r"(?:[Zz]|UTC|GMT|(?:UTC|GMT)?\s*(?P<sign>[+-])(?P<hours>\d\d?)(?::?(?P<minutes>\d\d))?)$")
FURTHEST_MIN = 14 * 60  # no zone is further from UTC
ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?$"
CLOCKS = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
DAYS = {False: ("%m/%d/%Y", "%m/%d/%y"), True: ("%d/%m/%Y", "%d/%m/%y")}  # by day_first
OTHER = ("%d-%b-%Y", "%d %b %Y", "%Y/%m/%d")
IN_ONE = {  # digits, each at its place: pandas alone would read 220716021453 as of the year 2207
    rf"^\d{{{digits}}}{between}\d{{{clock}}}$": f"{day}{between}%H%M{'%S' if clock == 6 else ''}"
    for digits, day in ((8, "%Y%m%d"), (6, "%y%m%d"))
    for between in ("", "_", "T", "-")
    for clock in (6, 4)
    if between or (digits, clock) != (6, 4)  # 2207160214 may count anything
    if (digits, between, clock) != (8, "", 4)  # 201012101112: of 2020 or of 2010
}
SPREADSHEET_DAYS = (30000, 60000)  # 1982 to 2064


def utc_times(texts, clock: str | None = "UTC", day_first: bool = False, day_zero: str = "1899-12-30") -> pd.Series:
    """(n,) `datetime64[us, UTC]` of the texts; NaT for what is no instant.

    Parameters
    ----------
    clock : time zone (IANA name) of texts that do not say theirs. An hour that this clock skips or repeats gives NaT: nobody knows when it was.
    day_first : 6/7/2017 is the sixth of July. day_zero : what a spreadsheet's day numbers count
        from.

    >>> utc_times(["2017-06-23 14:05:09", "6/23/2017 14:05:09", "2017-06-23T06:05:09-08"]).nunique()
    1
    """
    texts, local, ahead_min = _parted(texts)
    times = _local_times(local, day_first, day_zero)
    aware = ahead_min.notna()
    out = pd.Series(pd.NaT, texts.index, dtype="datetime64[us, UTC]")
    if aware.any():
        ahead = pd.to_timedelta(ahead_min[aware].where(ahead_min[aware].abs() <= FURTHEST_MIN), unit="min")
        out[aware] = (times[aware] - ahead).dt.tz_localize("UTC").astype(out.dtype)
    if not aware.all():
        theirs = times[~aware].dt.tz_localize(zone(clock), ambiguous="NaT", nonexistent="NaT")
        out[~aware] = theirs.dt.tz_convert("UTC").astype(out.dtype)
    return out.where(out.dt.year.between(YEARS.start, YEARS.stop - 1))


def day_orders(texts) -> pd.DataFrame:
    """(n, 2) bool, how each text may be read: `day_first` and `month_first`, one of them where it reads as a time only so
    (23/6/2017), both where it is another day then (6/7/2017), none where the order does not matter."""
    _, local, _ = _parted(texts)
    month_first, day_first = _local_times(local, False), _local_times(local, True)
    matters = (month_first != day_first) & (month_first.notna() | day_first.notna())
    return pd.DataFrame({"day_first": matters & day_first.notna(), "month_first": matters & month_first.notna()})


def _parted(texts) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Texts, the texts without their zones, and how far ahead of UTC these are in minutes (NaN: no
    zone)."""
    texts = pd.Series(list(texts), dtype="str").str.strip().str.replace("\u2212", "-")
    parts = texts.str.extract(SAYS_ZONE)
    hours, minutes = (pd.to_numeric(parts[name]).fillna(0.0).astype(float) for name in ("hours", "minutes"))
    size = (60 * hours + minutes).where(minutes < 60, 2.0 * FURTHEST_MIN)  # 75 minutes are none
    ahead = size.where(parts["sign"] != "-", -size).where(parts["local"].notna())
    return texts, parts["local"].fillna(texts).str.strip(), ahead


def _local_times(texts: pd.Series, day_first: bool, day_zero: str = "1899-12-30") -> pd.Series:
    """Times without a zone."""
    in_days = pd.to_numeric(texts, errors="coerce").where(lambda days: days.between(*SPREADSHEET_DAYS))
    out = (pd.Timestamp(day_zero) + pd.to_timedelta(np.round(in_days * 86400e3), unit="ms")).astype("datetime64[us]")
    iso = texts.str.contains(ISO, regex=True)
    if iso.any():
        plain = texts[iso].str.replace(",", ".")
        out[iso] = pd.to_datetime(plain, format="ISO8601", errors="coerce").astype(out.dtype)
    forms = [(None, f"{day} {time}") for day in (*DAYS[day_first], *OTHER) for time in CLOCKS]
    for shape, form in [*forms, *IN_ONE.items()]:
        left = out.isna() & (shape is None or texts.str.contains(shape or "", regex=True))
        if not left.any():
            continue
        out[left] = pd.to_datetime(texts[left], format=form, errors="coerce").astype(out.dtype)
    return out
