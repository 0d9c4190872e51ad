"""AIFF and AIFF-C: the same idea as WAV with the bytes the other way round."""
from __future__ import annotations

import struct

from spectrogram.header import MOST_CHANNELS, Header, Read, settle
from spectrogram.riff import MOST_CHUNKS, differ, search

INTEGERS = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}
FLOATS = {b"fl32": "FLOAT", b"FL32": "FLOAT", b"fl64": "DOUBLE", b"FL64": "DOUBLE"}
WHOLE = (b"NONE", b"twos", b"sowt", b"in24", b"in32")


def parse(read: Read, size: int, head: bytes) -> Header | None:
    """The header of an AIFF; None where the file is none."""
    if differ(head[:4], b"FORM") + min(differ(head[8:12], b"AIFF"), differ(head[8:12], b"AIFC")) > 1:
        return None
    at, form, sound = 12, None, None
    for _ in range(MOST_CHUNKS):
        raw = read(at, 8)
        if len(raw) < 8:
            break
        name, length = struct.unpack(">4sI", raw)
        if name == b"COMM":
            form = at
        if name == b"SSND":
            sound = at
            if form is not None:
                break
        at += 8 + length + length % 2
    form = search(head, b"COMM", 12) if form is None else form
    sound = search(head, b"SSND", 12) if sound is None else sound
    if form is None or sound is None:
        return None
    body, length, offset = read(form + 8, 22), *struct.unpack(">II", read(sound + 4, 8).ljust(8, b"\0"))
    if len(body) < 18:
        return None
    channels, frames, bits, exponent, mantissa = struct.unpack(">hIhHQ", body[:18])
    rate = mantissa * 2.0 ** (min(exponent & 0x7FFF, 16383 + 63) - 16383 - 63)
    kind = body[18:22] if head[8:12] == b"AIFC" else b"NONE"
    offset = offset if offset < 1 << 16 else 0
    first = sound + 16 + offset
    if kind in WHOLE:
        channels, bits = _vote(channels, -(-bits // 8) * 8, length - 8 - offset, frames)
    subtype = FLOATS.get(kind) or (INTEGERS.get(bits) if kind in WHOLE else None)
    header = Header("AIFF", subtype, max(channels, 0), round(rate), first, big_endian=kind != b"sowt")
    if header.frame_bytes == 0:
        return header
    there = max(0, size - first)

    def ends(count: int) -> bool:
        raw = read(first + count + count % 2, 4)
        return 0 <= there - count <= 1 or (len(raw) == 4 and all(0x20 <= byte < 0x7F for byte in raw))

    by_chunk = max(0, length - 8 - offset)
    by_form = frames * header.frame_bytes
    settle(header, by_chunk if by_chunk != by_form and ends(by_chunk) else by_form, there, ends, lambda: there, read)
    return header


def _vote(channels: int, bits: int, sound_bytes: int, frames: int) -> tuple[int, int]:
    """Channels and bits; where one of them cannot be, what the sizes say."""
    if bits in INTEGERS and 0 < channels <= MOST_CHANNELS and channels * bits // 8 * frames == sound_bytes:
        return channels, bits
    width = sound_bytes // frames if frames and sound_bytes % frames == 0 else 0
    fits = [(c, b) for b in INTEGERS for c in (width // (b // 8),) if c > 0 and c * b // 8 == width and (c == channels or b == bits)]
    return fits[0] if fits else (channels, bits)
