"""W64 (Sony): RIFF with sizes of 64 bits and names of 16 bytes, each chunk at a multiple of 8."""
from __future__ import annotations

import struct

from spectrogram.header import Header, Read, settle
from spectrogram.riff import MOST_CHUNKS, differ, read_format, search

TAIL_BYTES = 1 << 16
RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of every name but that of the file and of lists
LIST_TAIL = bytes.fromhex("2f91cf11a5d628db04c10000")


def parse(read: Read, size: int, head: bytes) -> Header | None:
    """The header of a W64; None where the file is none."""
    if differ(head[:16], RIFF) > 3:
        return None
    at, form, data = 40, None, None
    for _ in range(MOST_CHUNKS):
        raw = read(at, 24)
        if len(raw) < 24 or raw[4:16] != TAIL:
            break
        length = struct.unpack("<Q", raw[16:])[0]
        if raw[:4] == b"fmt ":
            form = at
        if raw[:4] == b"data":
            data = at
            break
        at += max(24, (length + 7) // 8 * 8)
    if form is None or data is None:  # a name or a size is damaged
        form = search(head, b"fmt " + TAIL, 40, 3)
        data = None if form is None else search(head, b"data" + TAIL, form + 24, 3)
    if form is None or data is None:
        return None
    length = struct.unpack("<Q", read(data + 16, 8).ljust(8, b"\0"))[0]
    header = read_format(read(form + 24, 40), "<", "W64", data + 24)
    if header is None or header.frame_bytes == 0:
        return header
    there = max(0, size - header.first_byte)

    def ends(count: int) -> bool:
        return 0 <= there - count < 8 or read(header.first_byte + (count + 7) // 8 * 8 + 4, 12) in (TAIL, LIST_TAIL)

    settle(header, max(0, length - 24), there, ends, lambda: _tail(read, header.first_byte, size), read, wraps=False)
    return header


def _tail(read: Read, first: int, size: int) -> int:
    """Bytes of sound before chunks that reach to the end of the file; all where there are none."""
    start = max(first, size - TAIL_BYTES)
    last = read(start, size - start)
    for place in range(-start % 8, len(last) - 23, 8):
        at = place
        while at + 24 <= len(last) and last[at + 4:at + 16] in (TAIL, LIST_TAIL):
            at += max(24, (struct.unpack("<Q", last[at + 16:at + 24])[0] + 7) // 8 * 8)
        if at > place and abs(at - len(last)) < 8:
            return start + place - first
    return size - first
