"""The `.log.xml` that a SoundTrap's software writes beside each recording: UTC start, gaps, drift, and the sensitivity if it is there.

A log tells of several files (sound, clicks, other sensors); that of the sound is the handler whose CFG has the suffix `wav`, else the
first. Read by patterns and not as XML: logs are cut off in the middle, and nothing in them is to be unfolded. Times are UTC, gaps in
microseconds as SoundTrap Host and PAMGuard write them.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spectrogram.metadata import moment

MOST_BYTES = 4 << 20
GAP_S = 1.0           # less is the rounding of the recorder's clock
HANDLER = re.compile(r'<PROC_EVENT ID="(\d+)"\s*>\s*<WavFileHandler ([^>]*?)/?>', re.DOTALL)
SOUND = re.compile(r'<CFG ID="(\d+)"[^>]*>(?:(?!</CFG>).)*?<SUFFIX>\s*wav\s*</SUFFIX>', re.DOTALL)
VALUE = re.compile(r'(\w+)="([^"]*)"')
PLAIN = re.compile(r'\b(SamplingStartTimeUTC|SamplingStopTimeUTC)="([^"]+)"')
GAP = re.compile(r"Sampling Gap\s+(-?\d+)\s*us at sample\s+(\d+)")
ZEROS = re.compile(r"added\s+(\d+)\s+zeros", re.IGNORECASE)
NOMINAL = r'<CFG ID="{}"[^>]*>(?:(?!</CFG>).)*?<FS[^>]*>\s*(\d+)'
GAIN = re.compile(r'(?i)<GAIN[^>]*>\s*([^<]*?)\s*</GAIN>|\bGain="([^"]+)"')
SENSITIVITY = re.compile(r'(?i)<[^>]*?(?:sensitivity|end.?to.?end)[^>=]*(?:="|>)\s*(-?\d{2,3}(?:\.\d+)?)\s*(?:db[^"<]*)?["<]')


@dataclass(frozen=True)
class Log:
    """What the log says of a recording: start_utc and stop_utc (whole seconds), gap_s (all gaps together), gaps (sample at which one
    begins, seconds, samples of zeros that fill it), period_s and samples (by the recorder's clock), sensitivity_db,
    nominal_hz (the rate that was set), gain."""

    start_utc: datetime | None = None
    stop_utc: datetime | None = None
    gap_s: float = 0.0
    gaps: tuple[tuple[int, float, int], ...] = ()
    period_s: float | None = None
    samples: int | None = None
    sensitivity_db: float | None = None
    nominal_hz: float | None = None
    gain: str | None = None

    @property
    def fast_ppm(self) -> float | None:
        """By how much the recorder's crystal is fast (negative: slow), where its log tells samples and seconds and lost none."""
        if not (self.samples and self.period_s and self.nominal_hz and abs(self.gap_s) < GAP_S):
            return None
        return (self.samples / self.period_s / self.nominal_hz - 1) * 1e6


def read_log(path: Path) -> Log | None:
    """The log beside a recording; None where there is none."""
    for log in (path.with_suffix(".log.xml"), path.with_suffix(".xml")):
        if not log.is_file():  # a pipe would keep who reads waiting for ever
            continue
        try:
            with open(log, "rb") as file:
                text = file.read(MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        if "WavFileHandler" in text or "SamplingStartTimeUTC" in text:
            return parse_log(text)
    return None


def parse_log(text: str) -> Log:
    """See `Log`; what the text does not tell is None."""
    handlers = HANDLER.findall(text)
    sound = {number for number in SOUND.findall(text)} & {number for number, _ in handlers} or {number for number, _ in handlers[:1]}
    values: dict[str, str] = {}
    gaps = []
    for number, attributes in handlers:
        if number not in sound:
            continue
        for name, value in VALUE.findall(attributes):
            values.setdefault(name, value)
            if match := GAP.search(value):
                gaps.append((int(match.group(2)), int(match.group(1)) * 1e-6, 0))
            elif gaps and (match := ZEROS.search(value)):
                gaps[-1] = (*gaps[-1][:2], int(match.group(1)))
    for name, value in PLAIN.findall(text):
        values.setdefault(name, value)
    sensitivity = SENSITIVITY.search(text)
    sensitivity_db = -abs(float(sensitivity.group(1))) if sensitivity else None
    nominal = next((found for number in sorted(sound) if (found := re.search(NOMINAL.format(number), text, re.DOTALL))), None)
    gain = GAIN.search(text)
    period_s, samples = _number(values.get("SamplingTimePeriod")), _number(values.get("SampleCount"))
    return Log(_utc(values.get("SamplingStartTimeUTC")), _utc(values.get("SamplingStopTimeUTC")),
               (_number(values.get("CumulativeSamplingGap")) or 0) * 1e-6, tuple(gaps), period_s and period_s * 1e-6,
               None if samples is None else int(samples), sensitivity_db if sensitivity_db is not None and -260 < sensitivity_db < -100 else None,
               float(nominal.group(1)) if nominal else None, ((gain.group(1) or gain.group(2) or "").strip() or None) if gain else None)


def _utc(text: str | None) -> datetime | None:
    start = moment(text or "")
    return start if start is None or start.tzinfo else start.replace(tzinfo=timezone.utc)


def _number(text: str | None) -> float | None:
    match = re.match(r"-?\d+", text or "")
    return float(match.group()) if match else None
