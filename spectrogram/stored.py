"""Opening the samples of a sound file: as libsndfile reads it, or, where its header is wrong, as it should be read.

`Spliced` shows a part of a file, with other bytes before it, as a file of its own: raw samples without their header, or a FLAC
behind a head that is right. So all further reading (blocks, passages, stretches) is the same for every file.
"""
from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from spectrogram.header import Header


class Spliced(io.RawIOBase):
    """`prefix` and then `count` bytes of a file from `first` on, read only."""

    def __init__(self, file, prefix: bytes, first: int, count: int):
        self.file, self.prefix, self.first, self.at, self.size = file, prefix, first, 0, len(prefix) + max(0, count)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def readinto(self, buffer) -> int:
        want = min(len(buffer), max(0, self.size - self.at))
        data = self.prefix[self.at:self.at + want]
        if len(data) < want:
            self.file.seek(self.first + self.at + len(data) - len(self.prefix))
            data += self.file.read(want - len(data))
        buffer[:len(data)] = data
        self.at += len(data)
        return len(data)


@contextmanager
def opened(path: Path, header: Header | None) -> Iterator[soundfile.SoundFile]:
    """The samples of a file. `header` : by which it is to be read; None: libsndfile's own reading of it is right."""
    if header is None or (header.container == "FLAC" and not header.prefix):
        with soundfile.SoundFile(path) as sound:
            yield sound
        return
    with open(path, "rb") as file:
        count = file.seek(0, io.SEEK_END) - header.first_byte
        if header.container == "FLAC":
            with soundfile.SoundFile(Spliced(file, header.prefix, header.first_byte, count)) as sound:
                yield sound
            return
        count = header.frames * header.frame_bytes
        with soundfile.SoundFile(Spliced(file, b"", header.first_byte, count), samplerate=header.sample_rate_hz,
                                 channels=header.channels, format="RAW", subtype=header.subtype,
                                 endian="BIG" if header.big_endian else "LITTLE") as sound:
            yield sound
