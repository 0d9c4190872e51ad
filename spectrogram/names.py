"""Start time and recorder's serial from a recording's file name: one rule for all makers.

A name's time is a date (2022-07-16, 20220716, 220716) and a time (02-14-53, 021453, 0214), one behind the other, perhaps with a
fraction of a second and with what UTC it is: `Z`, an offset (`+1000`, `-03`, `+05:30`, `UTC-3`) or a zone's letters (`PDT`, `pdt`).
Where the name does not say, the recorder's clock runs on the given time zone (UTC unless told). What could be read in two ways
(`-0900-10`: an offset, or the end at 9:00:10), or cannot be a moment (month 13, an hour that summer time skips), is no time:
better none than a wrong one. Digits in the shape of a date are no serial either.

Serials: the digits that a SoundTrap's name begins with, or the first word where it is a maker's (ICLISTENHF1353, S4U09523) or holds
letters and four digits.
"""
from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

ZONES_H = {"UTC": 0, "GMT": 0, "NST": -3.5, "NDT": -2.5, "AST": -4, "ADT": -3, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
           "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "BRT": -3, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "SAST": 2, "MSK": 3, "WIB": 7,
           "AWST": 8, "HKT": 8, "JST": 9, "KST": 9, "ACST": 9.5, "ACDT": 10.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13}
DOUBTFUL = ("BST", "IST", "SST")  # British or Bangladesh, Indian, Irish or Israel, ...: taken only where the recorder's zone calls itself so
_LONG = r"(?P<year>\d{4})(?P<s>[-_.])(?P<month>\d\d)(?P=s)(?P<day>\d\d)"
_WHOLE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_SHORT = r"(?<!\d{4}[-_.]\d\d[-_.])(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)"
_BETWEEN = r"(?:--|__|[-Tt_$ .])"
_SECONDS = r"(?P<hour>\d\d)(?P<t>[-:_.]?)(?P<minute>\d\d)(?P=t)(?P<second>\d\d)"
_MINUTES = r"(?P<hour>\d\d)(?P<t>[-:]?)(?P<minute>\d\d)(?P<second>)"
_ZONE = rf"(?i:Z|{'|'.join((*ZONES_H, *DOUBTFUL))})(?![A-Za-z])"
_FRACTION = r"(?:[.,](?P<fraction>\d{1,9})|_(?P<millis>\d{3})(?=" + _ZONE + r"|[^\dA-Za-z]|$))?(?!\d)"
_NO_SECONDS = r"(?!\d|[-_:.]\d\d(?!\d))"
FORMS = tuple(re.compile(rf"(?<!\d)(?<!_E){form}") for form in (
    _WHOLE + _BETWEEN + "?" + _SECONDS + _FRACTION,
    _LONG + _BETWEEN + "?" + _SECONDS + _FRACTION,
    _SHORT + _BETWEEN + "?" + _SECONDS + _FRACTION,
    _WHOLE + _BETWEEN + "?" + _MINUTES + _NO_SECONDS,
    _LONG + _BETWEEN + _MINUTES + _NO_SECONDS,
    _SHORT + _BETWEEN + _MINUTES + _NO_SECONDS,
))
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"), "-") | {0xFF0B: "+"}  # as keyboards and word processors write them
# What stands behind a time:
LETTERS = re.compile(rf"(?P<apart>[-_ .(]*)(?P<letters>{_ZONE})(?i:(?<!UTC(?=[_ ]?[-+]\d))(?<!GMT(?=[_ ]?[-+]\d)))")
OFFSET = re.compile(r"(?i)(?:[-_ .(]*(?:UTC|GMT)[_ ]?|[_ (]*)(?P<sign>[-+])(?P<hours>\d{1,2}?)(?:(?P<colon>[-_:]?)(?P<minutes>\d\d))?(?![\dA-Z])")
THE_END = re.compile(r"[-_]\d\d([-:_.])\d\d\1\d\d(?!\d)")  # of the recording: 09-05-00
NO_OFFSET = re.compile(r"(?i)[-_ .(]*(?:UTC|GMT)[_ ]?[-+]\d|[_ (]*(?:\+\d|-\d{4}[A-Z])")  # what cannot be anything else
MORE_DIGITS = re.compile(r"[-:.+]\d{1,3}(?!\d)")            # behind an offset: it was none
OF_WHOLE_YEARS, SHORT, TO_THE_MINUTE = frozenset(FORMS[:2]), FORMS[2], frozenset(FORMS[3:])
WHOLE_TO_THE_MINUTE_ALONE = re.compile(_WHOLE + _MINUTES + r"(?!\d)")  # whatever stands behind
AFTER_SERIAL = re.compile(r"(?:^|[_.])\d{3,}[._]$")
YEARS = range(1900, 2100)
SOUNDTRAP = re.compile(r"^(\d{3,})\.\d{12}(?!\d)")
DIGITS = re.compile(r"^(\d{3,})[._]")
AMAR = re.compile(r"^(AMAR[^.]*)\.")
MAKERS = re.compile(r"^((?:ICLISTEN|RB[A-Z]|SB[A-Z]|S4[A-Z]|SM[A-Z\d]|WISPR|AMAR|AURAL|DSG|EAR|MARU|HF)[A-Z]*-?\d+|sg\d{3})(?=[-_. ]|$)")
WORD = re.compile(r"^(?=[A-Z\d]*[A-Z])(?=(?:[A-Z]*\d){4})([A-Z\d]{5,20})(?=[-_. ]|$)")
COUNTERS = re.compile(r"^(?:(?:FILE|REC|TRACK|ZOOM|TAKE|PART|SEG|CLIP|CHAN|TASCAM|STE|WAV|MIX)[A-Z]*|DR|CH|R|T|DVT)\d+$")  # number files, not recorders
DAY, SHORT_DAY = re.compile(r"(?:19|20|00|99)\d\d[01]\d[0-3]\d|\d\d[01]\d[0-3]\d\d{6}$|(?:[0-3]\d[01]\d|[01]\d[0-3]\d)20\d\d$"), re.compile(r"\d\d[01]\d[0-3]\d")  # in their shape
DAY_OF_YEAR = re.compile(r"(?:19|20)\d\d(?:[0-2]\d\d|3[0-6]\d)$")
AUDIOMOTH_HEX = re.compile(r"^([0-9A-F]{8})\.WAV$")  # always .WAV, as in 5AFFE5D0.WAV; the archive number 62018001.flac is no time


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
    >>> parse_name("ICLISTENHF1353_20180101T000000.500+1000.wav")
    (datetime.datetime(2017, 12, 31, 14, 0, 0, 500000, tzinfo=datetime.timezone.utc), 'ICLISTENHF1353')
    """
    stem = Path(file_name).stem.translate(DASHES)
    clock = zone(clock)
    soundtrap = SOUNDTRAP.match(stem)
    at = len(soundtrap.group(1)) + 1 if soundtrap else 0
    matches = [(match.start(), form, match) for form in FORMS for match in form.finditer(stem, at)]
    moments = [(start, form, wall, match) for start, form, match in matches if (wall := _wall(match)) is not None]
    wrong = [(start, form, match) for start, form, match in matches if _wall(match) is None and _looks_dated(match)]
    first = min(moments, key=lambda moment: moment[0], default=None)  # a name may tell its end as well
    if first and not any(start < first[0] and form in OF_WHOLE_YEARS and _looks_dated(match, True) for start, form, match in wrong):
        date_at, form, wall, match = first
        others = [moment[1] for moment in moments if moment[0] == date_at or form in TO_THE_MINUTE]
        if form is SHORT:  # 201012101112: of 2020, or of 2010; behind a serial it is a SoundTrap's
            whole = WHOLE_TO_THE_MINUTE_ALONE.match(stem, date_at)
            doubtful = bool(whole and _wall(whole)) and not AFTER_SERIAL.search(stem[:date_at])
        else:
            doubtful = form in TO_THE_MINUTE and not TO_THE_MINUTE.issuperset(others)
        try:
            known = _said_zone(stem[match.end():], wall, clock)
        except ValueError:  # `+9999`, `IST`, `-0900-10`
            doubtful = True
        return None if doubtful else in_utc(wall, known), _serial(stem, date_at, wall)
    if AUDIOMOTH_HEX.match(Path(file_name).name):  # firmware before 1.2: seconds since 1970 in hexadecimal
        start = datetime.fromtimestamp(int(stem, 16), timezone.utc)
        if 2010 <= start.year <= 2030:
            return start, None
    return None, _serial(stem, min((start for start, *_ in wrong), default=len(stem)), None)


def _wall(match: re.Match) -> datetime | None:
    """The time that a name's clock shows, without a zone; None where the digits are no moment."""
    part = match.groupdict()
    year = int(part["year"])
    if len(part["year"]) == 2:
        year += 2000 if year < 70 else 1900
    fraction = part.get("fraction") or part.get("millis") or "0"
    try:
        wall = datetime(year, *(int(part[x] or 0) for x in ("month", "day", "hour", "minute", "second")), int(fraction[:6].ljust(6, "0")))
        return wall if year in YEARS else None
    except ValueError:  # month 13, hour 25: digits that are no date
        return None


def _looks_dated(match: re.Match, surely: bool = False) -> bool:
    """Whether digits that are no moment were meant as one: 20220230_120000, 99990101_000000."""
    this_age, day = int(match["year"]) in YEARS, match["month"][0] in "01" and match["day"][0] in "0123"
    return this_age and day if surely else this_age or day


def _said_zone(behind: str, wall: datetime, clock: tzinfo) -> tzinfo:
    """The zone that what stands behind a time says (`+1000`, `-03`, `Z`, `_PDT`); the recorder's where it says none.

    Raises
    ------
    ValueError
        where it may be an offset or something else, or means none that there is.
    """
    if match := LETTERS.match(behind):
        letters, number = match["letters"].upper(), behind[match.end():match.end() + 1].isdigit()
        if letters == "Z" and match["apart"] and number:  # a place: Z1
            return clock
        if number or (match["letters"].istitle() and letters not in ("Z", "UTC", "GMT")):  # UTC10; Est, where East is called so
            raise ValueError(behind)
        if letters not in ("Z", "UTC", "GMT") and letters == clock.tzname(wall):
            return clock
        if letters in DOUBTFUL:
            raise ValueError(behind)
        return timezone(timedelta(hours={**ZONES_H, "Z": 0}[letters]))
    if THE_END.match(behind) or not (match := OFFSET.match(behind)):
        if NO_OFFSET.match(behind):
            raise ValueError(behind)
        return clock
    ahead, hours, minutes = match["sign"] == "+", int(match["hours"]), int(match["minutes"] or 0)
    digits, colon, rest = match["hours"] + (match["minutes"] or ""), match["colon"], behind[match.end():]
    real = hours <= (14 if ahead else 12) and minutes in (0, 15, 30, 45)
    if len(digits) == 3 and not colon and not ahead and not real:
        return clock  # -456: milliseconds, or a number
    unsure = (len(digits) == 3 and not colon or colon in ("-", "_")) and not ahead  # -330, -09-30
    if not real or unsure or MORE_DIGITS.match(rest) or (not ahead and len(digits) > 2 and re.match(r"_\d\d(?!\d)", rest)):
        raise ValueError(behind)
    return timezone((1 if ahead else -1) * timedelta(hours=hours, minutes=minutes))


def in_utc(wall: datetime, clock: tzinfo) -> datetime | None:
    """What a clock on a zone shows, in UTC; None for an hour that summer time skips, or beyond the years that can be told."""
    try:
        start = wall.replace(tzinfo=clock).astimezone(timezone.utc)
        return start if start.astimezone(clock).replace(tzinfo=None) == wall else None
    except OverflowError:
        return None


def _serial(stem: str, date_at: int, wall: datetime | None) -> str | None:
    """The serial that a name begins with, before its date."""
    if soundtrap := SOUNDTRAP.match(stem):
        return soundtrap.group(1)
    for pattern in (AMAR, MAKERS, WORD):
        match = pattern.match(stem)
        if match and match.end(1) <= date_at and not (pattern is WORD and COUNTERS.match(match.group(1))):
            return match.group(1)
    match = DIGITS.match(stem)
    if match and match.end(1) <= date_at and not _is_date(match.group(1), wall):
        return match.group(1)
    return None


def _is_date(digits: str, wall: datetime | None) -> bool:
    """Whether digits are meant as a day, if an impossible one: a whole one, or a short one within a year of the recording (or
    nothing else tells the time)."""
    if len(digits) == 7:  # a year and its day: 2022197
        return bool(DAY_OF_YEAR.match(digits))
    if len(digits) in (8, 12, 14):
        return bool(DAY.match(digits))
    if len(digits) != 6 or not SHORT_DAY.match(digits):
        return False
    year = int(digits[:2]) + (2000 if int(digits[:2]) < 70 else 1900)
    try:
        return wall is None or abs(datetime(year, int(digits[2:4]), int(digits[4:])) - wall) < timedelta(days=366)
    except ValueError:
        return abs(year - wall.year) <= 1


def utc_times(start_utc: datetime | None, offsets_s):
    """Column of UTC times `offsets_s` seconds after `start_utc`, to the microsecond; NaT throughout when the start is unknown."""
    import pandas as pd

    offsets = np.rint(np.asarray(offsets_s, float) * 1e6).astype("timedelta64[us]")
    if start_utc is None:
        return pd.Series(pd.NaT, index=range(len(offsets)), dtype="datetime64[us, UTC]")
    start = np.datetime64(pd.Timestamp(start_utc).tz_convert("UTC").tz_localize(None), "us")
    return pd.Series(pd.DatetimeIndex(start + offsets).tz_localize("UTC"))
