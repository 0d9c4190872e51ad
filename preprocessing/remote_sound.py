"""Sound that lies elsewhere, read in spans: of a WAV only the header and the bytes asked for cross the network.

    with RemoteSound(file_system, "bucket/2021/a.wav", size) as sound:
        samples = sound.read(first, last)

WAV (PCM, float; RIFF and RF64) is cut by bytes. FLAC and what else can be read is fetched whole, once, into a temporary file, when the first span is asked for: its
frames have no fixed length. So is everything from a web server that does not answer ranges. A FLAC tells rate and length in its first bytes, so that it need not be fetched to be planned with.
"""
from __future__ import annotations

import io
import os
import struct
import tempfile
import time
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from spectrogram.addresses import file_system, is_remote, one_line, parted, storage_options
from spectrogram.recording import BYTES, EXTENSIONS, NATIVE, BadRecording, reason

HEADER_BYTES = 4096
WAV = (".wav", ".wave", ".rf64")
SUBTYPES = {(1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT", (3, 64): "DOUBLE"}
EXTENSIBLE = 0xFFFE
TRIES, PAUSE_S = 3, 1.0  # a network that fails for a moment


def store_of(address: str):
    """(fsspec file system, path in it) of a folder, or of an address such as s3://bucket/prefix or https://host/folder.

    Raises
    ------
    ValueError
        where no installed library speaks the protocol.
    """
    if not is_remote(address):
        import fsspec

        return fsspec.core.url_to_fs(address)
    place = parted(address)
    return file_system(place.where, storage_options(place.where) | place.options)


class RemoteSound:
    """One sound file in a store.

    Attributes
    ----------
    sample_rate_hz, channels, frames, subtype; truncated : the header promises more frames than there are.
    fetched_whole : it had to be. bytes_read : so far.

    Raises
    ------
    BadRecording
        for what is no sound, or has vanished. The message names it, the fault and the mend.
    """

    def __init__(self, file_system, path: str, size: int, name: str | None = None):
        self.fs, self.path, self.size, self.name = file_system, path, size, name or path
        self.bytes_read, self.fetched_whole, self.truncated = 0, False, False
        self._file = self._whole = self._first_byte = None
        suffix = PurePosixPath(path.split("?")[0]).suffix.lower()
        self.by_bytes = suffix in WAV
        head = self._bytes(0, min(HEADER_BYTES, max(size, 0)))
        if not head:
            raise BadRecording(f"{self.name}: zero bytes; the recorder or the upload failed, leave it out")
        if self.by_bytes and not self.fetched_whole:
            self._read_wav_header(head)
        elif not (suffix == ".flac" and self._read_flac_header(head)):
            self._ask_whole()

    def __enter__(self) -> RemoteSound:
        return self

    def __exit__(self, *_) -> None:
        if self._file is not None:
            self._file.close()
        if self._whole is not None:
            Path(self._whole).unlink(missing_ok=True)

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz

    def read(self, first: int, last: int, channel: int = 0) -> np.ndarray:
        """Samples `first` to `last` - 1 of a channel as they are stored: int16, int32 or float32 (n,).

        Raises
        ------
        BadRecording
            where they cannot be had.
        """
        dtype = NATIVE.get(self.subtype, ("float32", 1))[0]
        if not self.fetched_whole and self.by_bytes:
            width = BYTES[self.subtype] * self.channels
            raw = self._bytes(self._first_byte + first * width, self._first_byte + last * width)
            if not self.fetched_whole:
                raw = raw[:len(raw) // width * width]
                return soundfile.read(io.BytesIO(raw), dtype=dtype, always_2d=True, format="RAW", subtype=self.subtype, samplerate=self.sample_rate_hz,
                                      channels=self.channels, endian="LITTLE")[0][:, channel]
        self._ask_whole()
        try:
            with soundfile.SoundFile(self._whole) as file:
                file.seek(first)
                return file.read(last - first, dtype=dtype, always_2d=True)[:, channel]
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadRecording(f"{self.name}: damaged near {first / self.sample_rate_hz:.1f} s ({reason(error)}); leave the span out or upload the file again") from None

    def _bytes(self, start: int, stop: int) -> bytes:
        """Bytes of the object; where the server does not answer ranges, the object is fetched whole."""
        if self.fetched_whole:
            with open(self._whole, "rb") as file:
                file.seek(start)
                return file.read(stop - start)
        for attempt in range(TRIES):
            try:
                if self._file is None:
                    self._file = self.fs.open(self.path, "rb", cache_type="none")
                if not getattr(self._file, "seekable", lambda: True)():
                    break
                self._file.seek(start)
                data = self._file.read(stop - start)
                self.bytes_read += len(data)
                return data
            except FileNotFoundError:
                raise BadRecording(f"{self.name}: is not in the store any more; take it from the annotations, or upload it again") from None
            except ValueError:  # more bytes came than were asked for
                break
            except Exception as error:  # each protocol has its own
                self._file = None
                if attempt == TRIES - 1:
                    raise BadRecording(f"{self.name}: cannot be read ({one_line(error)}); check the address, the connection and the credentials, then run again") from None
                time.sleep(PAUSE_S)
        self._fetch()
        return self._bytes(start, stop)

    def _fetch(self) -> None:
        """The whole object, into a temporary file."""
        handle, whole = tempfile.mkstemp(suffix=PurePosixPath(self.path.split("?")[0]).suffix.lower())
        os.close(handle)
        try:
            self.fs.get_file(self.path, whole)
        except Exception as error:
            Path(whole).unlink(missing_ok=True)
            gone = isinstance(error, FileNotFoundError)
            said = "is not in the store any more; take it from the annotations, or upload it again" if gone else \
                f"cannot be fetched ({one_line(error)}); check the address, the connection and the room in the temporary folder, then run again"
            raise BadRecording(f"{self.name}: {said}") from None
        self._whole, self.fetched_whole = whole, True
        self.bytes_read += os.path.getsize(whole)

    def _ask_whole(self) -> None:
        """Fetch the object if it is not here, and take its facts from libsndfile."""
        if not self.fetched_whole:
            self._fetch()
        try:
            with soundfile.SoundFile(self._whole) as file:
                self.sample_rate_hz, self.channels, self.frames, self.subtype = file.samplerate, file.channels, file.frames, file.subtype
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadRecording(f"{self.name}: not audio that can be read ({reason(error)}); expected one of {', '.join(EXTENSIONS)}") from None

    def _read_wav_header(self, head: bytes) -> None:
        """Facts from the chunks; one that lies far inside costs a request of a few bytes."""
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return self._ask_whole()  # a name that misleads
        at, long_size, form = 12, None, None
        while at + 8 <= self.size:
            name, size = struct.unpack("<4sI", self._peek(head, at, 8))
            if name == b"ds64":
                long_size = struct.unpack("<Q", self._peek(head, at + 16, 8))[0]
            elif name == b"fmt ":
                form = self._peek(head, at + 8, min(size, 26))
            elif name == b"data":
                return self._settle(form, at + 8, long_size if size == 0xFFFFFFFF else size)
            at += 8 + size + size % 2
        raise BadRecording(f"{self.name}: a WAV without sound (no data chunk); the recorder was cut off, leave it out")

    def _settle(self, form: bytes | None, first_byte: int, promised: int | None) -> None:
        if form is None or len(form) < 16:
            raise BadRecording(f"{self.name}: a WAV that does not say how its samples are stored; upload it again or leave it out")
        tag, self.channels, self.sample_rate_hz, _, _, bits = struct.unpack("<HHIIHH", form[:16])
        tag = struct.unpack("<H", form[24:26])[0] if tag == EXTENSIBLE and len(form) >= 26 else tag
        if (tag, bits) not in SUBTYPES or not self.channels or not self.sample_rate_hz:
            self.by_bytes = False  # compressed
            return self._ask_whole()
        self.subtype, self._first_byte = SUBTYPES[tag, bits], first_byte
        width = BYTES[self.subtype] * self.channels
        there = self.size - first_byte
        self.truncated = promised is not None and promised > there + width
        self.frames = min(there, there if promised is None else promised) // width

    def _read_flac_header(self, head: bytes) -> bool:
        """True if the stream's facts stand at its beginning."""
        if head[:4] != b"fLaC" or len(head) < 42:
            return False
        packed = int.from_bytes(head[18:26], "big")
        self.sample_rate_hz, self.channels, bits, self.frames = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1, packed & (1 << 36) - 1
        self.subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}.get(bits, "PCM_24")
        return self.frames > 0 and self.sample_rate_hz > 0

    def _peek(self, head: bytes, at: int, count: int) -> bytes:
        data = head[at:at + count] if at + count <= len(head) else self._bytes(at, at + count)
        if len(data) < count:
            raise BadRecording(f"{self.name}: breaks off in its header; upload it again or leave it out")
        return data
