"""What a recording's header says of itself: when it began, on which recorder, how much it was slowed, where the recorder paused.

`harp` (x.wav of Scripps' HARP), `guan` (GUANO), comments (`LIST`, Vorbis comments of a FLAC, ID3: that of an AudioMoth, a GUANO
text, a start or a creation date), `wamd` (Wildlife Acoustics), `bext` (EBU Tech 3285) and `iXML`. Each reader takes a chunk's
bytes and returns what it found; damaged bytes say nothing. Times without an offset are the recorder's clock, told as such (no time zone).
"""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from spectrogram import tags
from spectrogram.header import Header
from spectrogram.names import YEARS, ZONES_H

PAUSE_S = 1.0  # raw files of a HARP that follow within this are one stretch
RAW_FILES_AT, RAW_FILE_BYTES = 56, 32
TICKS_S = 1e-3
DAMAGED_LIST = "the list of raw files in its header is damaged or not of this sound; after a pause of the recorder its times are not those of the clock"
AUDIOMOTH = re.compile(r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? (\d\d)/(\d\d)/(\d{4})(?: \(UTC([+-]\d{1,2}(?::\d\d)?)?\))?")
AUDIOMOTH_GAIN = re.compile(r"at (\w+(?:-\w+)?) gain\b")
AUDIOMOTH_ID = re.compile(r"by \w*Moth\w* ([0-9A-F]{16})")
MOST_SLOWED = 100  # times: bats are slowed ten times
WAMD_SERIAL, WAMD_START, WAMD_SLOWED = 2, 5, 15
SERIAL_FIELDS = ("serial", "serialnumber", "deviceserial", "hardwareserial", "recorderserial", "sensoruid")  # sensoruid: Frontier Labs
START_FIELDS = ("recordingstart", "starttime", "startutc", "timestamp", "datetimeoriginal", "icrd", "date", "tdrc", "creationtime")
SERIALS = ("Serial", "Serial Number", "Device Serial", "Hardware Serial")
ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?(Z|[+-]\d\d(?::?\d\d)?|[A-Z]{3,4})?$")


@dataclass(frozen=True)
class OwnWord:
    """What a file says of itself. start : aware (UTC or an offset), or naive: the recorder's clock. said_by : which chunk tells the time. gain :
    the recorder's setting, as it calls it.

    true_rate_hz : of sound that was slowed when it was written. stretches : (second of the file, UTC) at which each stretch of
    sound begins where the recorder paused inside the file; empty: it did not.
    """

    start: datetime | None = None
    said_by: str = ""
    serial: str | None = None
    gain: str | None = None
    true_rate_hz: int | None = None
    stretches: tuple[tuple[float, datetime], ...] = ()
    notes: tuple[str, ...] = ()


def own_word(header: Header | None) -> OwnWord:
    """What the chunks of a header say, the surest first; nothing where there is no header."""
    word = OwnWord()
    for name, reader in READERS.items() if header is not None else ():
        if body := header.chunks.get(name):
            said = reader(body, header)
            if word.start is None and said.start is not None:
                word = replace(word, start=said.start, said_by=said.said_by, stretches=said.stretches)
            word = replace(word, serial=word.serial or said.serial, gain=word.gain or said.gain, true_rate_hz=word.true_rate_hz or said.true_rate_hz,
                           notes=(*word.notes, *said.notes))
    return word


def moment(text: str) -> datetime | None:
    """An ISO 8601 time, aware where it tells its offset; None for what is none."""
    match = ISO.match(text.strip())
    if not match:
        return None
    *parts, fraction, offset = match.groups()
    try:
        wall = datetime(*map(int, parts), int((fraction or "0")[:6].ljust(6, "0")))
        if offset is None:
            return _dated(wall)
        if offset[0] in "+-":
            hours, minutes = int(offset[1:3]), int(offset[3:].strip(":") or 0)
            shift = (1 if offset[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes)
        else:
            shift = timedelta(hours={**ZONES_H, "Z": 0}[offset])
        return _dated(wall.replace(tzinfo=timezone(shift)).astimezone(timezone.utc))
    except (ValueError, OverflowError, KeyError):
        return None


def _dated(moment: datetime) -> datetime | None:
    return moment if moment.year in YEARS else None


def _harp(body: bytes, header: Header) -> OwnWord:
    """Scripps' x.wav: a list of raw files, each with its own start (UTC), its place and its length."""
    if len(body) < RAW_FILES_AT or header.frame_bytes == 0:
        return OwnWord()
    count = min(struct.unpack("<H", body[36:38])[0], (len(body) - RAW_FILES_AT) // RAW_FILE_BYTES)
    stretches, at, expected = [], 0, None
    for k in range(count):
        raw = body[RAW_FILES_AT + k * RAW_FILE_BYTES:][:RAW_FILE_BYTES]
        year, month, day, hour, minute, second, ticks, place, length, _, rate_hz, _ = struct.unpack("<6BHIIIIB", raw[:25])
        try:
            start = datetime(2000 + year, month, day, hour, minute, second, tzinfo=timezone.utc) + timedelta(seconds=ticks * TICKS_S)
        except ValueError:
            return OwnWord(stretches[0][1] if stretches else None, "harp", notes=(DAMAGED_LIST,))
        at_s = at / header.frame_bytes / header.sample_rate_hz
        if expected is None or abs((start - expected).total_seconds()) > PAUSE_S:
            stretches.append((at_s, start))
            expected = start
        expected += timedelta(seconds=length / header.frame_bytes / header.sample_rate_hz)
        at += length
    if not stretches:
        return OwnWord()
    sound_bytes = header.frames * header.frame_bytes
    misfits = header.agrees and abs(at - sound_bytes) > 0.01 * sound_bytes  # the sound was converted after the list was written
    if (misfits and len(stretches) > 1) or any(later[1] <= earlier[1] for earlier, later in zip(stretches, stretches[1:])):
        return OwnWord(stretches[0][1], "harp", notes=(DAMAGED_LIST,))
    serial = body[11:15].strip(b"\0 ").decode("ascii", "ignore") or None
    return OwnWord(stretches[0][1], "harp", serial, stretches=tuple(stretches) if len(stretches) > 1 else ())


def _guano(body: bytes, header: Header) -> OwnWord:
    """GUANO: lines of `key: value`."""
    lines = (line.partition(":") for line in body.decode("utf-8", "replace").strip("\0 ").splitlines())
    values = {key.strip("\0 \t"): value.strip("\0 \t\r") for key, _, value in lines}
    slowed, rate_hz = _number(values.get("TE")), _number(values.get("Samplerate"))
    true_rate_hz, notes = None, ()
    if slowed is not None and 1 < slowed <= MOST_SLOWED:
        true_rate_hz = round(rate_hz or slowed * header.sample_rate_hz)
        if true_rate_hz != header.sample_rate_hz:
            notes = (f"its sound was slowed {slowed:g} times, says the file; read as {true_rate_hz} Hz",)
    serial = next((values[key] for key in SERIALS if values.get(key)), None)
    gain = next((text for key, text in values.items() if key.split("|")[-1] == "Gain" and text), None)
    return OwnWord(moment(values.get("Timestamp", "")), "GUANO", serial, gain, true_rate_hz, notes=notes)


def _info(body: bytes, header: Header) -> OwnWord:
    """LIST: the comment that an AudioMoth writes, or a creation date with a time."""
    return _tagged(tags.info(body), "ICRD", header)


def _vorbis(body: bytes, header: Header) -> OwnWord:
    return _tagged(tags.vorbis(body), "its Vorbis comments", header)


def _id3(body: bytes, header: Header) -> OwnWord:
    return _tagged(tags.id3(body), "its ID3 tag", header)


def _tagged(fields: dict[str, str], said_by: str, header: Header) -> OwnWord:
    """What comments say, whatever holds them: an AudioMoth's, a GUANO text that was taken over whole, or fields of their own."""
    texts = list(fields.values())
    guano = next((text for text in texts if text.startswith("GUANO|")), None)
    word = OwnWord() if guano is None else _guano(guano.encode(), header)
    serial = next((found.group(1) for text in texts if (found := AUDIOMOTH_ID.search(text))), None) or next((fields[key] for key in SERIAL_FIELDS if fields.get(key)), None)
    gain = next((found.group(1) for text in texts if (found := AUDIOMOTH_GAIN.search(text))), None) or fields.get("gain")
    word = replace(word, serial=word.serial or serial, gain=word.gain or gain or None)
    if word.start is not None:
        return word
    if match := next((found for text in texts if (found := AUDIOMOTH.search(text))), None):
        hour, minute, second, fraction, day, month, year, offset = match.groups()
        zone = "Z" if offset is None and "(UTC" in match.group(0) else _padded(offset)
        return replace(word, start=moment(f"{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction or 0}{zone}"), said_by="the AudioMoth's comment")
    told = [moment(fields[key]) for key in START_FIELDS if ":" in fields.get(key, "")] + [_clock(fields.get("date", ""), fields.get("creationtime", ""))]
    return replace(word, start=next((start for start in told if start is not None), None), said_by=said_by)


def _padded(offset: str | None) -> str:
    """"-3", "+5:30" as "-03", "+05:30"."""
    return "" if offset is None else offset[0] + offset[1:].split(":")[0].zfill(2) + "".join(f":{x}" for x in offset[1:].split(":")[1:])


def _wamd(body: bytes, header: Header) -> OwnWord:
    """Wildlife Acoustics: number (u16), length (u32), text, one after another."""
    fields, at = {}, 0
    while at + 6 <= len(body):
        number, length = struct.unpack("<HI", body[at:at + 6])
        fields[number] = body[at + 6:at + 6 + length].strip(b"\0 ").decode("utf-8", "replace")
        at += 6 + length
    slowed = _number(fields.get(WAMD_SLOWED))
    true_rate_hz = round(slowed * header.sample_rate_hz) if slowed is not None and 1 < slowed <= MOST_SLOWED else None
    notes = (f"its sound was slowed {slowed:g} times, says the file; read as {true_rate_hz} Hz",) if true_rate_hz else ()
    return OwnWord(moment(fields.get(WAMD_START, "")), "wamd", fields.get(WAMD_SERIAL) or None, true_rate_hz=true_rate_hz, notes=notes)


def _bext(body: bytes, header: Header) -> OwnWord:
    """Broadcast wave: date and time of the recorder's clock."""
    return OwnWord(_clock(body[320:330].decode("ascii", "replace"), body[330:338].decode("ascii", "replace")), "bext")


def _ixml(body: bytes, header: Header) -> OwnWord:
    """iXML: the same date and time as in `bext`, as text."""
    text = body.decode("utf-8", "replace")
    values = dict(re.findall(r"<BWF_ORIGINATION_(DATE|TIME)>\s*([^<\s]{8,10})\s*<", text))
    return OwnWord(_clock(values.get("DATE", ""), values.get("TIME", "")), "iXML")


def _clock(date: str, time: str) -> datetime | None:
    """Date and time with any separators; None where they are none."""
    return moment("-".join(re.split(r"\D", date)) + "T" + ":".join(re.split(r"\D", time)))


def _number(text: str | None) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e9 else None  # inf, nan


READERS = {"harp": _harp, "guan": _guano, "LIST": _info, "VORBIS": _vorbis, "wamd": _wamd, "id3 ": _id3, "iXML": _ixml, "bext": _bext}
