"""How many frames a sound file's header promises, read straight from its chunks.

libsndfile quietly shortens the count to what the file holds, so a truncated recording would pass for whole. Here the promise is
read as written: RIFF/RF64 WAV, W64 and AIFF; for other containers (FLAC) libsndfile's own count is the promise.
"""
from __future__ import annotations

import struct
from pathlib import Path

W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def promised_frames(path: Path, bytes_per_frame: int) -> int | None:
    """Frames that the header promises, or None where the container does not say or cannot be parsed."""
    with open(path, "rb") as f:
        head = f.read(12)
        try:
            if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
                size = _wav_data_bytes(f, head[:4] == b"RF64")
            elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
                return _aiff_frames(f)
            elif head[:4] == b"riff":
                size = _w64_data_bytes(f)
            else:
                return None
        except struct.error:  # the chunks themselves are cut
            return None
    return None if size is None or bytes_per_frame == 0 else size // bytes_per_frame


def _wav_data_bytes(f, rf64: bool) -> int | None:
    long_size = None
    while header := f.read(8):
        name, size = struct.unpack("<4sI", header)
        if name == b"ds64":
            body = f.read(size)
            long_size = struct.unpack("<Q", body[8:16])[0]
            continue
        if name == b"data":
            if size == 0xFFFFFFFF:
                return long_size if rf64 else None  # a streamed WAV: no promise
            return size
        f.seek(size + size % 2, 1)
    return None


def _w64_data_bytes(f) -> int | None:
    f.seek(40)
    while header := f.read(24):
        guid, size = header[:16], struct.unpack("<Q", header[16:])[0]
        if guid[:4] == b"data" and guid[4:] == W64_GUID_TAIL:
            return size - 24
        f.seek((size - 24 + 7) // 8 * 8, 1)
    return None


def _aiff_frames(f) -> int | None:
    while header := f.read(8):
        name, size = struct.unpack(">4sI", header)
        if name == b"COMM":
            return struct.unpack(">hI", f.read(6))[1]
        f.seek(size + size % 2, 1)
    return None
