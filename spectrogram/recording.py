"""A hydrophone recording: opened, checked against its header, dated, calibrated, and read block by block.

WAV (PCM 16/24/32, float, RF64), W64, FLAC and AIFF at any sample rate; one channel of many; never held whole in memory.
Samples are float32 with full scale at +-1; sound pressure in µPa is sample * 10^(-sensitivity_db / 20).
"""
from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from spectrogram.dating import timeline
from spectrogram.dropouts import Dropouts
from spectrogram.header import Header, beyond_limits, header_of
from spectrogram.logs import read_log
from spectrogram.metadata import own_word
from spectrogram.names import parse_name, zone
from spectrogram.packed import packed_line
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY, Sensitivity, checked
from spectrogram.still import LEAST_S, Still, Stretch, merged
from spectrogram.stored import opened

EXTENSIONS = (".wav", ".wave", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc")
NO_SERIAL = "no serial"
PIECE_FRAMES = 4096  # a FLAC is read frame by frame, so that damage loses the same few samples whatever the block size
PIECE_SAMPLES = 8_000_000  # of all channels that are read at once: of many channels one is kept
CLIPPED = 0.9999
BEYOND = 1e9  # of full scale: no sound, and its square is beyond float32
# Integer samples are read as they are and scaled here, four times as fast as libsndfile's own conversion.
NATIVE = {"PCM_16": ("int16", 2.0 ** -15), "PCM_24": ("int32", 2.0 ** -31), "PCM_32": ("int32", 2.0 ** -31)}
AS_HEARD = ("PCM_", "FLOAT", "DOUBLE", "ALAC", "DPCM_")  # kinds of samples that lose nothing
UNSCALED = ("float32", 1.0)
NO_FILE = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}  # may keep who reads waiting for ever
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
    gain : the recorder's setting, where hydrophones are calibrated at several; default what the file or its log says.
    clock : IANA time zone of the recorder's clock where the name does not say UTC; default `TIMEZONE` of the environment, else UTC.

    Attributes
    ----------
    sample_rate_hz, channels, frames (in the file, whatever its header says), duration_s, promised_frames (by the header)
    unfinished : the recorder never came to write the length into the header.
    start_utc : aware datetime or None; time_source : "argument", "name", "log.xml", "none", or the chunk of the file that says it.
    timeline : where the recorder paused inside the file, see `utc` and `stretches`.
    serial : of the recorder, as told by the user, the file itself or its name; recorder : the serial, else the `folder` it lies in.
    sensitivity_db, calibrated : calibrated is False when the serial is unknown and -170 dB stands in. The sensitivity is
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
        header = self._open_and_check()
        word = own_word(header)
        if word.true_rate_hz:
            self.sample_rate_hz = word.true_rate_hz
        self._check_limits()
        if start_utc is not None and start_utc.tzinfo is None:
            raise ValueError(f"{self.path}: start_utc {start_utc} has no time zone; give an aware time, e.g. with timezone.utc")
        log = read_log(self.path)
        self.timeline = timeline(self.path.name, word, log, zone(clock or os.environ.get("TIMEZONE")), start_utc, self.duration_s, self.sample_rate_hz)
        self.unlistened: list[Stretch] = list(self.timeline.unlistened)
        for line in self.timeline.notes:
            self.fault(line)
        by_name = parse_name(self.path.name)[1]
        self.serial, self.folder = serial or word.serial or by_name, self.path.absolute().parent.name
        self.gain = gain or word.gain or (log.gain if log else None)
        if sensitivity_db is not None:
            self.sensitivity_db, self.calibrated = checked(self.serial or self.path.name, sensitivity_db), True
        else:
            known = by_name if serial is None and self.serial not in HYDROPHONE_SENSITIVITY else self.serial
            calibration = HYDROPHONE_SENSITIVITY.calibration(known, self.start_utc, self.gain)
            self.sensitivity_db, self.calibrated = calibration.sensitivity, calibration.known
            if not self.calibrated and log is not None and log.sensitivity_db is not None:
                self.sensitivity_db, self.calibrated = Sensitivity.of(log.sensitivity_db), True
            elif calibration.remark:
                self.fault(calibration.remark)
        self.clipped_samples = self.bad_samples = 0
        self.frames_read: int | None = None  # None until `blocks` has begun
        self.still, self.dropouts = Still(self.sample_rate_hz), Dropouts(self.sample_rate_hz)

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
    def recorder(self) -> str:
        return self.serial or self.folder or NO_SERIAL

    @property
    def start_utc(self) -> datetime | None:
        return self.timeline.start_utc

    @property
    def time_source(self) -> str:
        return self.timeline.source

    @property
    def end_utc(self) -> datetime | None:
        begin_s, end_s, start_utc = self.timeline.stretches(self.duration_s)[-1]
        return start_utc and start_utc + timedelta(seconds=end_s - begin_s)

    def utc(self, offsets_s, at_s=None):
        """Column of UTC times of these seconds of the file (`Timeline.utc`)."""
        return self.timeline.utc(offsets_s, at_s)

    def _open_and_check(self) -> Header | None:
        try:
            kind = stat.S_IFMT(os.stat(self.path).st_mode)
            if kind in NO_FILE:
                raise BadRecording(f"{self.path}: {NO_FILE[kind]} and no file; nothing is read from it, leave it out")
            with open(self.path, "rb") as f:
                size = f.seek(0, os.SEEK_END)
            if size == 0:
                raise BadRecording(f"{self.path}: zero bytes; the recorder or the copy failed, copy it again or leave it out")
            if line := packed_line([self.path.name]):
                raise BadRecording(f"{self.path}: {line}")
            header = header_of(self.path)
        except OSError as error:
            raise BadRecording(f"{self.path}: cannot be read ({error.strerror}); check the path and its permissions") from None
        by_library = None
        try:
            with soundfile.SoundFile(self.path) as f:
                facts, self.subtype, self.format = (f.samplerate, f.channels, f.frames), f.subtype, f.format
                if self.format == "FLAC":  # damage before the first frame is only seen when that is read
                    f.read(1, dtype="int32")
                by_library = facts
        except (soundfile.LibsndfileError, OSError) as error:
            if header is None or not header.frame_bytes or (header.container == "FLAC" and not header.prefix):
                what = f"not audio that can be read ({reason(error)}); expected WAV, W64, FLAC or AIFF"
                if header is not None and header.format_number is not None:
                    what = (f"compressed sound (format {header.format_number:#x}) that cannot be read; convert it to WAV or FLAC, "
                            f"e.g. with ffmpeg -i {self.path.name} out.flac")
                raise BadRecording(f"{self.path}: {what}") from None
        self.unfinished, self.header_agrees, self._read_by = False, True, None
        if header is None or header.subtype is None:
            self.sample_rate_hz, self.channels, self.frames = by_library
            self.promised_frames = self.frames
            if not self.subtype.startswith(AS_HEARD):
                self.fault(f"its sound was compressed with loss ({self.subtype}): levels and faint calls are not those of the water; use the original where there is one")
        else:
            self.sample_rate_hz, self.channels, self.frames, self.promised_frames = header.sample_rate_hz, header.channels, header.frames, header.promised
            self.unfinished, self.header_agrees = header.unfinished, header.agrees
            if by_library != (header.sample_rate_hz, header.channels, header.frames) or header.mended:
                self._read_by, self.subtype, self.format = header, header.subtype, header.container
            for line in header.notes:
                self.fault(line)
        return header

    def _check_limits(self) -> None:
        if fault := beyond_limits(self.sample_rate_hz, self.channels):
            raise BadRecording(f"{self.path}: {fault}")
        if self.frames <= 0:
            raise BadRecording(f"{self.path}: holds no samples; the recorder was cut off before it wrote the header, or the file is empty")
        if not 0 <= self.channel < self.channels:
            have = "channel 0" if self.channels == 1 else f"channels 0 to {self.channels - 1}"
            raise BadRecording(f"{self.path}: has no channel {self.channel}; it has {have}")

    def opened(self):
        """A context with the samples as a `soundfile.SoundFile`, read as they should be where the header is wrong."""
        return opened(self.path, self._read_by)

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
        """False when less could be read than there should be, or header and file do not agree on how much that is."""
        have = self.frames if self.frames_read is None else self.frames_read
        return self.header_agrees and have + 1 >= self.frames

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
        self.still, self.dropouts = Still(self.sample_rate_hz), Dropouts(self.sample_rate_hz)
        want = max(1, round(block_s * self.sample_rate_hz))
        piece = PIECE_FRAMES if self.format == "FLAC" else want
        held: list[np.ndarray] = []
        n_held = 0
        with self.opened() as f:
            while True:
                try:
                    data = self._read_channel(f, piece)
                except (soundfile.LibsndfileError, OSError) as error:
                    self.fault(f"damaged: the data break off after {self.frames_read / self.sample_rate_hz:.1f} s of {self.duration_s:.1f} s "
                               f"({reason(error)}); what came before is processed, copy the file again for the rest")
                    break
                if len(data) == 0:
                    break
                held.append(self._checked_samples(data))
                n_held += len(data)
                while n_held >= want:
                    joined = held[0] if len(held) == 1 else np.concatenate(held)
                    held = [joined[want:]] if len(joined) > want else []
                    n_held -= want
                    self._look_for_silence(joined[:want])
                    yield joined[:want]
        if held:
            rest = np.concatenate(held)
            self._look_for_silence(rest)
            yield rest
        self._note_what_was_read()

    def _read_channel(self, file: soundfile.SoundFile, frames: int) -> np.ndarray:
        """The channel's next samples as they are stored (n,), at most so many; fewer at the end."""
        native, _ = NATIVE.get(self.subtype, UNSCALED)
        if self.channels == 1:
            return file.read(frames, dtype=native)
        at_once, parts = max(1, PIECE_SAMPLES // self.channels), []
        while frames > 0 and len(data := file.read(min(frames, at_once), dtype=native, always_2d=True)):
            parts.append(data[:, self.channel].copy())
            frames -= len(data)
        return np.concatenate(parts) if parts else np.empty(0, native)

    def _checked_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples, not-numbers replaced by 0, what is wrong with them counted."""
        if self.subtype in ("FLOAT", "DOUBLE"):
            bad = ~(np.abs(x) < BEYOND)  # NaN as well
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

    def _look_for_silence(self, x: np.ndarray) -> None:
        self.still.add(x)
        self.dropouts.add(x)

    def dropouts_s(self) -> np.ndarray:
        """(k, 2) start and end in s of dropouts shorter than those among `silences`: not listened to, but no level is left out for them."""
        return self.dropouts.runs / self.sample_rate_hz

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
        if len(short := self.dropouts_s()):
            self.fault(f"{len(short)} dropouts of less than {LEAST_S:g} s, {np.diff(short).sum():.3g} s of zeros in all, the first at {short[0, 0]:.3f} s: "
                       "not listened to, levels around them are too low; check the card, or copy the file again")
        if self.bad_samples:
            self.fault(f"{self.bad_samples} samples are not numbers (NaN, infinite, or beyond all sense); they count as silence")
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
        with self.opened() as f:
            try:
                if first > 0:
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
