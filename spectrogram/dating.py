"""When a recording began, and where its clock and its samples part: from what a user, the file, its log and its name say.

Who is believed: the user; the file's own word; a SoundTrap's log, which knows UTC; the name. Where file or log and name differ by
more than a minute, a note says so. `Timeline` is a recording's map from its own seconds to UTC: one line where the recorder ran
through, a new one after each pause.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

import numpy as np

from spectrogram.logs import GAP_S, Log
from spectrogram.metadata import OwnWord
from spectrogram.names import in_utc, parse_name, utc_times

DIFFERS = timedelta(seconds=60)
TOLD_PPM, MOST_PPM = 20, 5000  # of a crystal: less is 0.1 s in an hour, more is none
RESETS = {1970: 60, 1980: 60, 2000: 2}  # the first days of years in which clocks begin that were not set
IMPOSSIBLE = "cannot be right"  # of a date
LONGEST_GAP_S = 366 * 86400
NO_TIME = ("no start time in the file name; times count from the start of the file, name it SERIAL.yymmddHHMMSS or give a table of "
           "start times")


@dataclass(frozen=True)
class Timeline:
    """start_utc : None where it is unknown. source : "argument", the file's chunk, "log.xml", "name" or "none". breaks : (second of
    the file, UTC) at which stretches begin after a pause. unlistened : (start_s, end_s, why) of seconds in the file that hold no
    sound, as header or log say. notes : what is odd."""

    start_utc: datetime | None
    source: str
    breaks: tuple[tuple[float, datetime], ...] = ()
    unlistened: tuple[tuple[float, float, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def breaks_s(self) -> tuple[float, ...]:
        """Seconds of the file at which stretches begin after a pause."""
        return tuple(begin for begin, _ in self.breaks)

    def stretches(self, duration_s: float) -> list[tuple[float, float, datetime | None]]:
        """(start_s, end_s, start_utc) of the stretches that make up so many seconds of the file; one where nothing paused."""
        begins = [(0.0, self.start_utc), *(b for b in self.breaks if 0 < b[0] < duration_s)]
        ends = [*(begin for begin, _ in begins[1:]), duration_s]
        return [(begin, end, start) for (begin, start), end in zip(begins, ends)]

    def utc(self, offsets_s, at_s=None):
        """Column of UTC times of these seconds of the file, to the microsecond; NaT throughout where the start is unknown.

        at_s : for ends of what began then: an end is told by the same stretch, so that nothing lasts through a pause.
        """
        offsets = np.asarray(offsets_s, float)
        if self.breaks and self.start_utc is not None:
            shifts = np.array([0.0, *((start - self.start_utc).total_seconds() - begin for begin, start in self.breaks)])
            offsets = offsets + shifts[np.searchsorted(self.breaks_s, offsets if at_s is None else np.asarray(at_s, float), "right")]
        return utc_times(self.start_utc, offsets)


def timeline(name: str, word: OwnWord, log: Log | None, clock: tzinfo, given: datetime | None, duration_s: float, rate_hz: int) -> Timeline:
    """The timeline of a recording.

    Parameters
    ----------
    name : the file's. word : what its header says. log : what its log says. clock : zone of the recorder's clock, where neither says.
    given : what the user says (aware). duration_s, rate_hz : of the file.
    """
    from_name = parse_name(name, clock)[0]
    own = word.start if word.start is None or word.start.tzinfo else in_utc(word.start, clock)
    told, by = (own, word.said_by) if own is not None else (log.start_utc if log else None, "log.xml")
    notes = list(word.notes)
    if told is not None and from_name is not None and impossible(told) and not impossible(from_name):
        notes.append(f"{'its log' if by == 'log.xml' else f'the file itself ({by})'} says {told:%Y-%m-%d}, which {IMPOSSIBLE}; its name is believed")
        told = None
    if given is not None:
        start, source = given.astimezone(timezone.utc), "argument"
    elif told is not None and (from_name is None or abs(told - from_name) > DIFFERS):
        start, source = told, by
        if from_name is not None:
            notes.append(f"{_apart(told - from_name)} its name says, says the {'log' if by == 'log.xml' else 'file itself'} ({by}), which is believed")
    elif told is not None and by != "log.xml" and not (from_name.microsecond and not told.microsecond):
        start, source = told, by
    elif from_name is not None:
        start, source = from_name, "name"  # finer than the log, which has whole seconds
    else:
        start, source = None, "none"
        notes.append(NO_TIME)
    if start is not None and (doubt := impossible(start)):
        notes.append(doubt)
    breaks, unlistened, lost = _gaps(log, start, duration_s, rate_hz)
    if own is not None and start is not None and word.stretches:
        breaks = tuple((begin, moment + (start - own)) for begin, moment in word.stretches[1:] if begin < duration_s)
    if log is not None and (ppm := log.fast_ppm) is not None and TOLD_PPM <= abs(ppm) <= MOST_PPM:
        notes.append(f"its crystal is some {abs(round(ppm, -1)):.0f} ppm {'fast' if ppm > 0 else 'slow'}, says the log; times late in the file are off by as much")
    if breaks:
        notes.append(f"the recorder paused {len(breaks)} times inside this file; times follow its own list")
    return Timeline(start, source, breaks, unlistened, (*notes, *lost))


def impossible(start: datetime, now: datetime | None = None) -> str:
    """Why a date cannot be right by itself: in the future, or where a clock begins that was not set; "" where it can."""
    now = now or datetime.now(timezone.utc)
    unset = start.timetuple().tm_yday <= RESETS.get(start.year, 0)
    if not unset and start <= now + timedelta(days=2):
        return ""
    why = "is where a clock begins that was not set" if unset else "lies in the future"
    return f"its date, {start:%Y-%m-%d}, {IMPOSSIBLE}: it {why}; give the true start times as overrides"


def same_time(one: datetime | None, other: datetime | None) -> bool:
    """Whether two start times are one, as far as names and logs tell; also where both are unknown."""
    return one == other or (None not in (one, other) and abs(one - other) <= DIFFERS)


def _apart(difference: timedelta) -> str:
    hours = abs(difference) / timedelta(hours=1)
    span = f"{hours:.2f} h" if hours < 48 else f"{hours / 24:.1f} days"
    return f"it began {span} {'later' if difference > timedelta(0) else 'earlier'} than"


def _gaps(log: Log | None, start: datetime | None, duration_s: float, rate_hz: int):
    """Pauses, seconds without sound and notes, as a log tells of gaps."""
    if log is None or log.gap_s < GAP_S:
        return (), (), ()
    span_s = (log.stop_utc - log.start_utc).total_seconds() if log.start_utc and log.stop_utc else log.period_s or duration_s + log.gap_s
    if log.gap_s > min(span_s + GAP_S, LONGEST_GAP_S):  # not of this file
        return (), (), ()
    missing = f"{log.gap_s:.0f} s of {span_s:.0f} s are missing, says the log"
    placed = [gap for gap in log.gaps if GAP_S <= gap[1] <= log.gap_s + GAP_S and 0 <= gap[0] / rate_hz < duration_s]
    filled = tuple((at / rate_hz, min((at + zeros) / rate_hz, duration_s), "gap, filled with zeros, says the log") for at, _, zeros in placed if zeros)
    if filled:
        return (), filled, (f"{missing}, and filled with zeros",)
    if placed and start is not None:
        breaks, late_s = [], 0.0
        for at, gap_s, _ in placed:
            late_s += gap_s
            breaks.append((at / rate_hz, start + timedelta(seconds=at / rate_hz + late_s)))
        return tuple(breaks), (), (missing,)
    if duration_s >= span_s - log.gap_s / 2:
        return (), (), (f"{missing}, and filled",)
    return (), (), (f"{missing}; times in it may be late by as much",)
