"""Sound that lies elsewhere, read in spans: of a WAV only the header and the bytes asked for cross the network.

    with RemoteSound(file_system, "bucket/2021/a.wav", size) as sound:
        samples = sound.read(first, last)

Samples of fixed size (WAV, W64, AIFF) are cut by bytes. FLAC and what else can be read is fetched whole, once, into a temporary file, when the first span
is asked for: its frames have no fixed length. So is everything from a web server that does not answer ranges. A FLAC tells rate and length in its first and
last bytes, so that it need not be fetched to be planned with. Headers are read as those of files that lie here (`spectrogram.header`).
"""
from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from spectrogram.addresses import file_system, is_remote, one_line, parted, storage_options
from spectrogram.dating import Timeline, timeline
from spectrogram.header import HEAD_BYTES, Header, beyond_limits, header_of, read_header
from spectrogram.metadata import own_word
from spectrogram.names import zone
from spectrogram.recording import EXTENSIONS, NATIVE, BadRecording, reason
from spectrogram.stored import opened

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
    sample_rate_hz, channels, frames, subtype; truncated : the header promises more frames than there are. notes : what is odd about
    the header. timeline : when it began, by the file's own word or its name (`spectrogram.dating`).
    fetched_whole : it had to be. bytes_read : so far.

    Raises
    ------
    BadRecording
        for what is no sound, or has vanished. The message names it, the fault and the mend.
    """

    def __init__(self, file_system, path: str, size: int, name: str | None = None):
        self.fs, self.path, self.size, self.name = file_system, path, size, name or path
        self.bytes_read, self.fetched_whole, self.truncated, self.notes = 0, False, False, []
        self._file = self._whole = None
        head = self._bytes(0, min(HEAD_BYTES, max(size, 0)))
        if not head:
            raise BadRecording(f"{self.name}: zero bytes; the recorder or the upload failed, leave it out")
        self._header: Header | None = None if self.fetched_whole else read_header(lambda at, count: self._peek(head, at, count), size)
        if self._header is None or self._header.subtype is None or self.fetched_whole:
            self._ask_whole()
        else:
            self._take(self._header)
        word = own_word(self._header)
        self.sample_rate_hz = word.true_rate_hz or self.sample_rate_hz
        clock = zone(os.environ.get("TIMEZONE"))
        self.timeline: Timeline = timeline(PurePosixPath(self.name).name, word, None, clock, None, self.duration_s, self.sample_rate_hz)

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
        dtype, header = NATIVE.get(self.subtype, ("float32", 1))[0], self._header
        if not self.fetched_whole and header is not None and header.frame_bytes and header.container != "FLAC":
            raw = self._bytes(header.first_byte + first * header.frame_bytes, header.first_byte + last * header.frame_bytes)
            if not self.fetched_whole:
                raw = raw[:len(raw) // header.frame_bytes * header.frame_bytes]
                return soundfile.read(io.BytesIO(raw), dtype=dtype, always_2d=True, format="RAW", subtype=self.subtype, samplerate=header.sample_rate_hz,
                                      channels=self.channels, endian="BIG" if header.big_endian else "LITTLE")[0][:, channel]
        self._ask_whole()
        try:
            with opened(self._whole, header if header is not None and header.subtype else None) as file:
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
        """Fetch the object if it is not here, and take its facts from its header, or from libsndfile where that is not known."""
        if not self.fetched_whole:
            self._fetch()
        if self._header is None:
            self._header = header_of(self._whole)
        if self._header is not None and self._header.subtype:
            return self._take(self._header)
        try:
            with soundfile.SoundFile(self._whole) as file:
                self.sample_rate_hz, self.channels, self.frames, self.subtype = file.samplerate, file.channels, file.frames, file.subtype
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadRecording(f"{self.name}: not audio that can be read ({reason(error)}); expected one of {', '.join(EXTENSIONS)}") from None

    def _take(self, header: Header) -> None:
        """The facts that a header tells."""
        if fault := beyond_limits(header.sample_rate_hz, header.channels):
            raise BadRecording(f"{self.name}: {fault}")
        if not header.frames:
            raise BadRecording(f"{self.name}: holds no samples; the recorder was cut off, leave it out")
        self.sample_rate_hz, self.channels, self.frames, self.subtype = header.sample_rate_hz, header.channels, header.frames, header.subtype
        self.truncated, self.notes = header.promised > header.frames + 1, header.notes

    def _peek(self, head: bytes, at: int, count: int) -> bytes:
        if not 0 <= at < self.size:
            return b""
        return head[at:at + count] if at + count <= len(head) or len(head) == self.size else self._bytes(at, min(at + count, self.size))
