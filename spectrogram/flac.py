"""FLAC: how many samples a stream really holds, and what they are, told by its frames.

The head of the stream (STREAMINFO) may not know its length (a recorder cut off, a stream), or a wrong one. Each frame has a number
and a checksum: the last one in the file tells where the sound ends. Where the head is wrong, `Header.prefix` is one that is right.
Source: RFC 9639.
"""
from __future__ import annotations

import struct

from spectrogram.header import Header, Read, span
from spectrogram.riff import METADATA, SMALL_BYTES

SUBTYPES = {8: "PCM_S8", 12: "PCM_16", 16: "PCM_16", 20: "PCM_24", 24: "PCM_24", 32: "PCM_32"}
SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}, **{n: 256 << (n - 8) for n in range(8, 16)}}
RATES = {1: 88200, 2: 176400, 3: 192000, 4: 8000, 5: 16000, 6: 22050, 7: 24000, 8: 32000, 9: 44100, 10: 48000, 11: 96000}
BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
SEARCHED_BYTES = (1 << 15, 1 << 20)  # from the end: usual frames, and any
APPLICATION, COMMENTS = 2, 4  # kinds of blocks
FIRST_SEARCHED = 1 << 16
MOST_TRIED = 64
ENDS = 3  # a frame ends where the next one begins, which may be no frame but samples that look like one


def parse(read: Read, size: int, head: bytes) -> Header | None:
    """The header of a FLAC; None where the file is none."""
    tagged = head[:3] == b"ID3" and b"fLaC" in head
    start = head.find(b"fLaC") if tagged else 0
    info = head[start + 8:start + 42]
    if (head[:4] != b"fLaC" and not tagged and sum(a != b for a, b in zip(head[:4], b"fLaC")) > 1) or len(info) < 34:
        return None
    packed = int.from_bytes(info[10:18], "big")
    said = {"rate": packed >> 44, "channels": (packed >> 41 & 7) + 1, "bits": (packed >> 36 & 31) + 1}
    total = packed & (1 << 36) - 1
    begins, chunks = _metadata(read, start + 4)
    first, first_at = _first_frame(read, begins, size, said)
    if first is None:  # not a frame of it can be read
        return Header("FLAC", SUBTYPES.get(said["bits"], "PCM_24"), said["channels"], said["rate"], begins, total, total, chunks=chunks)
    true = {key: first[key] or said[key] for key in said}
    header = Header("FLAC", SUBTYPES.get(true["bits"], "PCM_24"), true["channels"], true["rate"], first_at, total, total, chunks=chunks)
    header.notes = [f"the header's {key} ({said[key]}) is not that of the sound; read as {true[key]}" for key in said if said[key] != true[key]]
    frames = _last_sample(read, size, first_at, true, first["block"])
    if frames is not None:
        header.frames, header.promised = frames, total or frames
    else:
        header.frames = header.promised = total
    if total and frames is not None and total > frames:
        header.notes.append(f"truncated: the header promises {span(total, true['rate'])}, the file holds {span(frames, true['rate'])}; "
                            "what is there is processed, copy the file again for the rest")
    elif total and frames is not None and total < frames:
        header.notes.append(f"{span(frames - total, true['rate'])} of sound lie behind the end that the header promises "
                            f"({span(total, true['rate'])}); they are processed too, check what wrote the file")
    header.agrees, header.unfinished = header.frames == header.promised, not total
    packed = true["rate"] << 44 | true["channels"] - 1 << 41 | true["bits"] - 1 << 36 | header.frames
    blocks = struct.pack(">HH", 16, 65535) if first["varies"] else struct.pack(">HH", first["block"], first["block"])
    header.prefix = b"fLaC\x80\0\0\x22" + blocks + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    header.mended = not first["varies"] and header.frames > first["block"] and info[:4] != blocks
    return header


def word_only(read: Read) -> Header | None:
    """A header that holds nothing but what the comments of a FLAC say, without a look for its end; None where the file is none."""
    head = read(0, 4)
    return Header("FLAC", None, 0, 0, 0, chunks=_metadata(read, 4)[1]) if head == b"fLaC" else None


def _metadata(read: Read, at: int) -> tuple[int, dict[str, bytes]]:
    """Where the blocks of metadata end, and what is in them: comments, and chunks of the WAV that the FLAC was made of."""
    told = Header("FLAC", None, 0, 0, 0)
    for _ in range(128):
        raw = read(at, 4)
        if len(raw) < 4 or (raw[0] == 0xFF and raw[1] & 0xFE == 0xF8):
            break
        kind, length = raw[0] & 0x7F, int.from_bytes(raw[1:], "big")
        if kind == COMMENTS and length <= SMALL_BYTES:
            told.keep("VORBIS", read(at + 4, length))
        elif kind == APPLICATION and 12 <= length <= SMALL_BYTES and (body := read(at + 4, length))[:4] == b"riff":
            if (name := body[4:8].decode("latin-1")) in METADATA:
                told.keep(name, body[12:12 + int.from_bytes(body[8:12], "little")])
        at += 4 + length
        if raw[0] & 0x80:
            break
    return at, told.chunks


def _first_frame(read: Read, at: int, size: int, said: dict) -> tuple[dict | None, int]:
    """The first frame, from where it should be or, where that is none, from the beginning of the file on."""
    frame = _frame(read(at, 32), said)
    if frame is not None:
        return frame, at
    data = read(0, FIRST_SEARCHED)
    for place in _syncs(data):
        frame = _frame(data[place:place + 32], said)
        if frame is not None and frame["number"] == 0:
            return frame, place
    return None, at


def _last_sample(read: Read, size: int, first: int, true: dict, block: int) -> int | None:
    """How many samples lie before the end of the last whole frame; None where no frame is found."""
    for searched in SEARCHED_BYTES:
        at = max(first, size - searched)
        data = read(at, size - at)
        ends = [len(data) - 128, len(data)] if data[-128:-125] == b"TAG" else [len(data)]
        for place in reversed(list(_syncs(data))):
            frame = _frame(data[place:place + 32], true)
            if frame is None or any(frame[key] not in (0, true[key]) for key in ("rate", "channels")):
                continue
            if any(_crc16(data[place:end]) == 0 for end in ends[-ENDS:]):
                return (frame["number"] if frame["varies"] else frame["number"] * block) + frame["block"]
            ends.append(place)
            if len(ends) > MOST_TRIED:
                break
        if at == first:
            break
    return None


def _syncs(data: bytes):
    at = data.find(b"\xff")
    while 0 <= at < len(data) - 5:
        if data[at + 1] & 0xFE == 0xF8:
            yield at
        at = data.find(b"\xff", at + 1)


def _frame(head: bytes, said: dict) -> dict | None:
    """What the header of a frame says (0: as STREAMINFO does); None where it is none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, layout, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if size_code == 0 or rate_code == 15 or layout > 10 or bits_code == 3:
        return None
    number, at = _utf8(head, 4)
    if number is None:
        return None
    block, rate = SIZES.get(size_code, 0), RATES.get(rate_code, 0)
    if size_code in (6, 7):
        block, at = int.from_bytes(head[at:at + size_code - 5], "big") + 1, at + size_code - 5
    if rate_code in (12, 13, 14):
        count = 1 if rate_code == 12 else 2
        rate, at = int.from_bytes(head[at:at + count], "big") * {12: 1000, 13: 1, 14: 10}[rate_code], at + count
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return {"number": number, "block": block, "rate": rate, "channels": layout + 1 if layout < 8 else 2, "bits": BITS.get(bits_code, 0),
            "varies": bool(head[1] & 1)}


def _utf8(data: bytes, at: int) -> tuple[int | None, int]:
    """A number as FLAC codes it, and where it ends."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    more = 8 - (first ^ 0xFF).bit_length() - 1  # leading ones, less one
    if not 1 <= more <= 6 or at + more >= len(data):
        return None, at
    number = first & (1 << 6 - more) - 1 if more < 6 else 0
    for byte in data[at + 1:at + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, at
        number = number << 6 | byte & 0x3F
    return number, at + 1 + more


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value >> bits - 1 else value << 1) & (1 << bits) - 1
        table.append(value)
    return table


CRC8, CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = CRC8[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    """0 over a whole frame, its own checksum included."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ CRC16[crc >> 8 ^ byte]
    return crc
