"""A hydrophone recording: opened, checked against its header, dated, calibrated, and read block by block.

WAV (PCM 16/24/32, float, RF64), W64, FLAC and AIFF at any sample rate; one channel of many; never held whole in memory.
Samples are float32 with full scale at +-1; sound pressure in µPa is sample * 10^(-sensitivity_db / 20).
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import soundfile

from spectrogram.header import promised_frames
from spectrogram.names import parse_name, soundtrap_log_start, zone
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY, checked
from spectrogram.still import Still, Stretch, merged

EXTENSIONS = (".wav", ".wave", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc")
BYTES = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
PIECE_FRAMES = 4096  # a FLAC is read frame by frame, so that damage loses the same few samples whatever the block size
CLIPPED = 0.9999
# Integer samples are read as they are and scaled here, four times as fast as libsndfile's own conversion.
NATIVE = {"PCM_16": ("int16", 2.0 ** -15), "PCM_24": ("int32", 2.0 ** -31), "PCM_32": ("int32", 2.0 ** -31)}
UNSCALED = ("float32", 1.0)
STILL = "samples that do not change"  # why a stretch found in them was not listened to


class BadRecording(ValueError):
    """A recording that cannot be processed at all. The message names the file, the fault and the mend."""


class Recording:
    """One channel of one sound file.

    Parameters
    ----------
    path : file of one of `EXTENSIONS`, in any case.
    channel : which channel, counted from 0.
    start_utc, serial, sensitivity_db : override what the name and the table of hydrophones say.
    gain : the recorder's setting, where hydrophones are calibrated at several.
    clock : IANA time zone of the recorder's clock where the name does not say UTC; default `TIMEZONE` of the environment, else UTC.

    Attributes
    ----------
    sample_rate_hz, channels, frames (in the file), duration_s, promised_frames (by the header)
    start_utc : aware datetime or None; time_source : "argument", "name", "log.xml" or "none"
    serial, sensitivity_db, calibrated : calibrated is False when the serial is unknown and -170 dB stands in. The sensitivity is
        the one valid when the recording began; a number, with a `curve` where it differs by frequency.
    faults : what is wrong with the recording, one clear line each; reading adds to it.
    unlistened : stretches in which nothing was heard, (start_s, end_s, why) in the recording's own
        seconds: those that header and log tell; reading to the end adds those found in the samples.

    Raises
    ------
    BadRecording
        for a file that is missing, empty, not audio, holds no samples or lacks the channel.
    """

    def __init__(self, path, channel: int = 0, start_utc: datetime | None = None, serial: str | None = None,
                 sensitivity_db: float | None = None, clock: str | None = None, gain: str | None = None):
        self.path, self.channel, self.faults = Path(path), channel, []
        self._open_and_check()
        self._date(start_utc, clock or os.environ.get("TIMEZONE"))
        self.serial = serial or parse_name(self.path.name)[1]
        self.gain = gain if gain is not None else getattr(self, "gain", None)
        if sensitivity_db is not None:
            self.sensitivity_db, self.calibrated = checked(self.serial or self.path.name, sensitivity_db), True
        else:
            calibration = HYDROPHONE_SENSITIVITY.calibration(self.serial, self.start_utc, self.gain)
            self.sensitivity_db, self.calibrated = calibration.sensitivity, calibration.known
            if calibration.remark:
                self.fault(calibration.remark)
        self.clipped_samples = self.bad_samples = 0
        self.frames_read: int | None = None  # None until `blocks` has begun
        self.unlistened: list[Stretch] = getattr(self, "unlistened", [])
        self.still = Still(self.sample_rate_hz)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def nyquist_hz(self) -> float:
        return self.sample_rate_hz / 2

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz

    @property
    def end_utc(self) -> datetime | None:
        return self.start_utc and self.start_utc + timedelta(seconds=self.duration_s)

    def _open_and_check(self) -> None:
        try:
            with open(self.path, "rb") as f:
                size = f.seek(0, os.SEEK_END)
        except OSError as error:
            raise BadRecording(f"{self.path}: cannot be read ({error.strerror}); check the path and its permissions") from None
        if size == 0:
            raise BadRecording(f"{self.path}: zero bytes; the recorder or the copy failed, copy it again or leave it out")
        try:
            with soundfile.SoundFile(self.path) as f:
                self.sample_rate_hz, self.channels, self.frames = f.samplerate, f.channels, f.frames
                self.subtype, self.format = f.subtype, f.format
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadRecording(f"{self.path}: not audio that can be read ({reason(error)}); expected WAV, W64, FLAC or AIFF") from None
        promised = promised_frames(self.path, BYTES.get(self.subtype, 0) * self.channels)
        self.promised_frames = self.frames if promised is None else promised
        if self.frames == 0:
            raise BadRecording(f"{self.path}: holds no samples; the recorder was cut off before it wrote the header, or the file is empty")
        if not 0 <= self.channel < self.channels:
            have = "channel 0" if self.channels == 1 else f"channels 0 to {self.channels - 1}"
            raise BadRecording(f"{self.path}: has no channel {self.channel}; it has {have}")
        if self.promised_frames > self.frames + 1:
            self.fault(f"truncated: the header promises {self.promised_frames / self.sample_rate_hz:.1f} s, "
                       f"the file holds {self.duration_s:.1f} s; what is there is processed, copy the file again for the rest")

    def _date(self, start_utc: datetime | None, clock: str | None) -> None:
        from_name, _ = parse_name(self.path.name, zone(clock))
        from_log = soundtrap_log_start(self.path)
        if start_utc is not None:
            if start_utc.tzinfo is None:
                raise ValueError(f"{self.path}: start_utc {start_utc} has no time zone; give an aware time, e.g. with timezone.utc")
            self.start_utc, self.time_source = start_utc.astimezone(timezone.utc), "argument"
        elif from_log and (from_name is None or abs(from_log - from_name) > timedelta(seconds=60)):
            self.start_utc, self.time_source = from_log, "log.xml"  # the name is on local time; the log knows UTC
        elif from_name:
            self.start_utc, self.time_source = from_name, "name"
        else:
            self.start_utc, self.time_source = None, "none"
            self.fault("no start time in the file name; times count from the start of the file, name it "
                       "SERIAL.yymmddHHMMSS or give a table of start times")

    @property
    def scale(self) -> float:
        """What a stored sample (see `raw_blocks`) is multiplied by."""
        return NATIVE.get(self.subtype, UNSCALED)[1]

    def fault(self, line: str) -> None:
        """Note a fault once."""
        if line not in self.faults:
            self.faults.append(line)

    @property
    def complete(self) -> bool:
        """False when less could be read than the header promises."""
        have = self.frames if self.frames_read is None else self.frames_read
        return have + 1 >= self.promised_frames

    def blocks(self, block_s: float = 20.0) -> Iterator[np.ndarray]:
        """Yield the channel's samples in order, float32 (n,) at full scale +-1, `block_s` seconds at a time."""
        for block in self.raw_blocks(block_s):
            yield np.multiply(block, np.float32(self.scale), dtype=np.float32, casting="unsafe")

    def raw_blocks(self, block_s: float = 20.0) -> Iterator[np.ndarray]:
        """Yield the samples as they are stored, integers or float32 (n,); times `scale` they are at full scale +-1.

        NaN and infinite samples become 0 and are counted in `bad_samples`, samples at full scale in `clipped_samples`. When the file
        breaks off, what came before is yielded, the fault is noted, and the iteration ends: it never raises for bad sound.
        """
        self.clipped_samples = self.bad_samples = self.frames_read = 0
        self._lowest, self._highest = np.inf, -np.inf
        self.still = Still(self.sample_rate_hz)
        want = max(1, round(block_s * self.sample_rate_hz))
        piece = PIECE_FRAMES if self.format == "FLAC" else want
        native, _ = NATIVE.get(self.subtype, UNSCALED)
        held: list[np.ndarray] = []
        n_held = 0
        with soundfile.SoundFile(self.path) as f:
            while True:
                try:
                    data = f.read(piece, dtype=native, always_2d=self.channels > 1)
                except (soundfile.LibsndfileError, OSError) as error:
                    self.fault(f"damaged: the data break off after {self.frames_read / self.sample_rate_hz:.1f} s of {self.duration_s:.1f} s "
                               f"({reason(error)}); what came before is processed, copy the file again for the rest")
                    break
                if len(data) == 0:
                    break
                held.append(self._checked_samples(data if self.channels == 1 else data[:, self.channel]))
                n_held += len(data)
                while n_held >= want:
                    joined = held[0] if len(held) == 1 else np.concatenate(held)
                    held = [joined[want:]] if len(joined) > want else []
                    n_held -= want
                    self.still.add(joined[:want])
                    yield joined[:want]
        if held:
            rest = np.concatenate(held)
            self.still.add(rest)
            yield rest
        self._note_what_was_read()

    def _checked_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples, not-numbers replaced by 0, what is wrong with them counted."""
        if self.subtype in ("FLOAT", "DOUBLE"):
            bad = ~np.isfinite(x)
            if bad.any():
                self.bad_samples += int(bad.sum())
                x = np.where(bad, np.float32(0), x)
        if len(x):
            low, high = float(x.min()) * self.scale, float(x.max()) * self.scale
            if high >= CLIPPED or low <= -CLIPPED:
                self.clipped_samples += int(np.count_nonzero(np.abs(x * np.float32(self.scale)) >= CLIPPED))
            self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)
        self.frames_read += len(x)
        return x

    def silences(self) -> np.ndarray:
        """(k, 2) start and end in s of what was not listened to, in order: what header and log tell, and what was found in the samples so far."""
        found = [(start / self.sample_rate_hz, end / self.sample_rate_hz, STILL) for start, end, _ in self.still.runs]
        return merged([*self.unlistened, *found], (self.frames_read or 0) / self.sample_rate_hz)

    def _note_silences(self) -> None:
        """Put the stretches found in the samples among those of header and log, and say them."""
        runs, rate = self.still.runs, self.sample_rate_hz
        told = [stretch for stretch in self.unlistened if stretch[2] != STILL]
        self.unlistened = told + [(start / rate, end / rate, STILL) for start, end, _ in runs]
        for why in dict.fromkeys(stretch[2] for stretch in told):
            total = np.diff(merged([stretch for stretch in told if stretch[2] == why], self.duration_s)).sum()
            if not any(why in fault for fault in self.faults):
                self.fault(f"not listened to: {total:.4g} s ({why}); levels and presence leave them out")
        if len(runs) and self._lowest != self._highest:
            what = "zeros" if (runs[:, 2] == 0).all() else "samples that do not change"
            first, last, total = runs[0, 0] / rate, runs[-1, 1] / rate, (runs[:, 1] - runs[:, 0]).sum() / rate
            stretches = "" if len(runs) == 1 else f", in {len(runs)} stretches"
            self.fault(f"not listened to: {total:.4g} s of {what} between {first:.1f} s and {last:.1f} s"
                       f"{stretches} (dropouts, or a muted channel); levels and presence leave them out")

    def _note_what_was_read(self) -> None:
        self._note_silences()
        if self.bad_samples:
            self.fault(f"{self.bad_samples} samples are not numbers (NaN or infinite); they count as silence")
        if self.frames_read > 1 and self._lowest == self._highest:
            self.fault("silence: every sample is the same; check the hydrophone, its cable and the gain")
        if self.clipped_samples:
            share = self.clipped_samples / max(self.frames_read, 1)
            self.fault(f"clipping: {self.clipped_samples} samples ({share:.2%}) at full scale; levels there are too low")
        if self.frames_read + 1 < self.frames and not any(f.startswith("damaged") for f in self.faults):
            self.fault(f"truncated: {self.frames_read / self.sample_rate_hz:.1f} s could be read of {self.duration_s:.1f} s")

    def read(self, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
        """Samples from `start_s` to `end_s`, float32 (n,): for looking at a passage, not for long stretches.

        Raises
        ------
        BadRecording
            where the file's data are damaged there.
        """
        first = round(start_s * self.sample_rate_hz)
        last = self.frames if end_s is None else min(self.frames, round(end_s * self.sample_rate_hz))
        with soundfile.SoundFile(self.path) as f:
            try:
                f.seek(min(first, self.frames))
                x = f.read(max(0, last - first), dtype="float32", always_2d=True)[:, self.channel]
            except (soundfile.LibsndfileError, OSError) as error:
                raise BadRecording(f"{self.path}: damaged between {start_s:.1f} s and {last / self.sample_rate_hz:.1f} s ({reason(error)}); "
                                   "choose an earlier passage or copy the file again") from None
        return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)

    def __repr__(self) -> str:
        return f"Recording({self.name!r}, {self.duration_s:.1f} s at {self.sample_rate_hz} Hz, start {self.start_utc})"


def reason(error: Exception) -> str:
    """What libsndfile says, without its prefixes."""
    return (getattr(error, "error_string", None) or str(error) or "unreadable data").removeprefix("Error : ").rstrip(". ")
