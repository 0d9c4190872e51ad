"""AIFF and AIFF-C: the same idea as WAV with the bytes the other way round."""
from __future__ import annotations

import struct

from spectrogram.header import Header, Read, settle
from spectrogram.riff import MOST_CHUNKS

INTEGERS = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}
FLOATS = {b"fl32": "FLOAT", b"FL32": "FLOAT", b"fl64": "DOUBLE", b"FL64": "DOUBLE"}
WHOLE = (b"NONE", b"twos", b"sowt", b"in24", b"in32")


def parse(read: Read, size: int, head: bytes) -> Header | None:
    """The header of an AIFF; None where the file is none."""
    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return None
    at, form, sound = 12, None, None
    for _ in range(MOST_CHUNKS):
        raw = read(at, 8)
        if len(raw) < 8:
            break
        name, length = struct.unpack(">4sI", raw)
        if name == b"COMM":
            form = read(at + 8, 22)
        if name == b"SSND":
            sound = (at, length)
            if form is not None:
                break
        at += 8 + length + length % 2
    if form is None or len(form) < 18 or sound is None:
        return None
    channels, frames, bits, exponent, mantissa = struct.unpack(">hIhHQ", form[:18])
    rate = mantissa * 2.0 ** (min(exponent & 0x7FFF, 16383 + 63) - 16383 - 63)
    kind = form[18:22] if head[8:12] == b"AIFC" else b"NONE"
    subtype = FLOATS.get(kind) or (INTEGERS.get((bits + 7) // 8 * 8) if kind in WHOLE else None)
    place, length = sound
    offset = int.from_bytes(read(place + 8, 4), "big")
    first = place + 16 + (offset if offset < 1 << 16 else 0)
    header = Header("AIFF", subtype, max(channels, 0), round(rate), first, big_endian=kind != b"sowt")
    if header.frame_bytes == 0:
        return header
    there = max(0, size - first)

    def ends(count: int) -> bool:
        raw = read(first + count + count % 2, 4)
        return 0 <= there - count <= 1 or (len(raw) == 4 and all(0x20 <= byte < 0x7F for byte in raw))

    by_chunk = max(0, length - 8 - (first - place - 16))
    by_form = frames * header.frame_bytes
    settle(header, by_chunk if by_chunk != by_form and ends(by_chunk) else by_form, there, ends, lambda: there, read)
    return header
