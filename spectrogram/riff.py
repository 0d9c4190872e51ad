"""WAV: RIFF, RF64, BW64 and RIFX, read from their chunks; also where some of their bytes are damaged.

The format chunk says things twice (bytes per frame, bytes per second), so that one wrong field of it is mended by the others. A
chunk whose name or size is damaged does not hide the sound: it is looked for by its name, then by where it has to lie.
"""
from __future__ import annotations

import struct
from collections import Counter
from itertools import product

from spectrogram.header import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, MOST_CHANNELS, Header, Read, settle, span

MAGIC = (b"RIFF", b"RF64", b"BW64", b"RIFX")
SUBTYPES = {(1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT", (3, 64): "DOUBLE"}
EXTENSIBLE = 0xFFFE
COMPRESSED = frozenset((2, 6, 7, 0x11, 0x31, 0x45, 0x50, 0x55, 0x64, 0xFF))  # ADPCM, A-law, mu-law, IMA, GSM, G.726, MPEG, MP3, G.721, AAC
# WMA, ATRAC, AAC, AC-3, Vorbis, Opus, FLAC: numbers that no one damaged byte makes of another
SURELY_COMPRESSED = frozenset((0x160, 0x161, 0x162, 0x163, 0x270, 0x1610, 0x2000, 0x566F, 0x6771, 0x704F, 0x706D, 0xF1AC))
METADATA = ("guan", "LIST", "bext", "iXML", "harp", "wamd", "id3 ", "ID3 ")
KNOWN = frozenset((*METADATA, "fmt ", "data", "ds64", "fact", "JUNK", "junk", "FLLR", "PAD ", "id3 ", "ID3 ", "axml", "cue ", "PEAK",
                   "smpl", "inst", "plst", "_PMX", "afsp", "bxml", "chna", "cart", "levl", "link", "umid", "minf", "elm1", "regn"))
MOST_CHUNKS = 256
MOST_BYTES = {"harp": 4 << 20}  # of a chunk that is read; longer ones are pictures and the like
SMALL_BYTES = 1 << 14
SEARCHED_BYTES = 1 << 18
TAIL_BYTES = 1 << 16


def parse(read: Read, size: int, head: bytes) -> Header | None:
    """The header of a WAV; None where the file is none."""
    if head[:4] not in MAGIC and head[8:12] != b"WAVE" and b"fmt " not in head[:64]:
        return None
    if head[:4] in (b"FORM", b"fLaC", b"riff"):
        return None
    container = head[:4].decode("latin-1") if head[:4] in MAGIC else "RIFF"
    order = ">" if container == "RIFX" else "<"
    chunks = walk(read, 12, size, order, stop="data")
    form, data = _find(chunks, read, size, order, head)
    if form is None or data is None:
        return None
    header = read_format(read(form + 8, 40), order, container, data + 8)
    if header is None:
        return None
    declared = struct.unpack(f"{order}I", read(data + 4, 4).ljust(4, b"\0"))[0]
    there, wraps = max(0, size - header.first_byte), True
    long_size = next((_long_size(read(at + 8, 24)) for name, at, _ in chunks if name == "ds64"), None)
    if container in ("RF64", "BW64") and long_size is not None and (declared in (0, 0xFFFFFFFF) or long_size >> 32):
        declared, wraps = long_size, False
    if header.frame_bytes == 0:
        return header

    def behind(count: int) -> list[tuple[str, int, int]]:
        return chunks_behind(read, header.first_byte + count, size, order)

    def ends(count: int) -> bool:
        return there - count <= 1 or bool(behind(count))

    settle(header, declared, there, ends, lambda: tail(read, header.first_byte, size, order) - header.first_byte, read, wraps)
    if there - header.frames * header.frame_bytes > 8:
        chunks += behind(header.frames * header.frame_bytes) or chunks_behind(read, tail(read, header.first_byte, size, order), size, order)
    more = sum(min(length, size - at - 8) for name, at, length in chunks if name == "data" and at > data) // header.frame_bytes
    if more > 0:
        header.agrees = False
        header.notes.append(f"{span(more, header.sample_rate_hz)} of sound lie in a second data chunk, which is not read: "
                            "write the file anew as one piece, with the software of its recorder")
    for name, at, length in chunks:
        if name in METADATA and 0 < length <= MOST_BYTES.get(name, SMALL_BYTES):
            header.keep(name, read(at + 8, length))
    return header


def walk(read: Read, at: int, size: int, order: str, stop: str = "") -> list[tuple[str, int, int]]:
    """(name, place, length) of chunks one after another, as far as they make sense; up to and with the one called `stop`."""
    chunks: list[tuple[str, int, int]] = []
    while at + 8 <= size and len(chunks) < MOST_CHUNKS:
        name, length = _chunk(read, at, order)
        if name not in KNOWN and _chunk(read, at - 1, order)[0] in KNOWN:  # the one before was odd, without the byte that makes it even
            at -= 1
            name, length = _chunk(read, at, order)
        if not name or (at + 8 + length > size + 1 and name != stop):
            break
        chunks.append((name, at, length))
        if name == stop and length:  # an empty one may come before the true one
            break
        at += 8 + length + length % 2
    return chunks


def chunks_behind(read: Read, at: int, size: int, order: str) -> list[tuple[str, int, int]]:
    """Chunks that begin at a place, or a byte beside it, and reach to the end of the file; or whose first is of a known kind."""
    for place in (at, at + 1, at - 1):
        chunks = walk(read, place, size, order)
        if chunks and (chunks[0][0] in KNOWN or size - sum(chunks[-1][1:]) - 8 < 8):
            return chunks
        if read(place, 3) == b"TAG" and size - place == 128:  # ID3, version 1
            return [("TAG", place, 120)]
        name, length = _chunk(read, place, order)
        if name in KNOWN and length < TAIL_BYTES:  # cut off
            return [(name, place, length)]
    return []


def tail(read: Read, first: int, size: int, order: str) -> int:
    """Where chunks of metadata at the end of the file begin; the end of the file where there are none."""
    start = max(first, size - TAIL_BYTES)
    last = read(start, size - start)
    places = sorted({place for name in KNOWN - {"data", "fmt "} for place in _places(last, name.encode())})
    for place in places:
        chunks = walk(read, start + place, size, order)
        if chunks and abs(size - sum(chunks[-1][1:]) - 8) <= 1:
            return start + place
    return max(first, size)


def _places(data: bytes, word: bytes):
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + 1)


def _chunk(read: Read, at: int, order: str) -> tuple[str, int]:
    """Name and length of what stands at a place; "" where that is no name."""
    raw = read(at, 8)
    if len(raw) < 8 or not all(0x20 <= byte < 0x7F for byte in raw[:4]):
        return "", 0
    return raw[:4].decode("ascii"), struct.unpack(f"{order}I", raw[4:])[0]


def _find(chunks, read: Read, size: int, order: str, head: bytes) -> tuple[int | None, int | None]:
    """Where the format and the sound stand, also where names or sizes of chunks are damaged."""
    form = next((at for name, at, _ in chunks if name == "fmt "), None)
    data = next((at for filled in (True, False) for name, at, length in chunks if name == "data" and bool(length) is filled), None)
    if form is not None and data is not None:
        return form, data
    head = head if b"data" in head else read(0, SEARCHED_BYTES)
    if form is None:
        form = next((at for wrong in (1, 2) if (at := search(head, b"fmt ", 12, wrong)) is not None), None)
    if form is not None and data is None:
        data = search(head[:form + 4096], b"data", form + 24)
        behind = form + 24  # of the smallest format
        if data is None and behind + 8 <= size and struct.unpack(f"{order}I", read(behind + 4, 4))[0] == size - behind - 8:
            data = behind
        if data is None:
            at = head.find(b"data", form + 24)
            data = at if at >= 0 else None
    return form, data


def search(head: bytes, name: bytes, start: int, wrong: int = 1) -> int | None:
    """Where a name stands, or one with a few bytes of it damaged."""
    at = head.find(name, start)
    if at >= 0:
        return at
    return next((at for at in range(start, min(len(head), start + 4096) - 8) if differ(head[at:at + len(name)], name) <= wrong), None)


def differ(a: bytes, b: bytes) -> int:
    """In how many bytes two names of one length differ."""
    return sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))


def _long_size(body: bytes) -> int | None:
    return struct.unpack("<Q", body[8:16])[0] if len(body) >= 16 else None


def read_format(body: bytes, order: str, container: str, first_byte: int) -> Header | None:
    """Channels, rate and kind of samples, by a vote of what the format chunk says twice."""
    if len(body) < 16:
        return None
    tag, channels, rate_hz, byte_rate, align, bits = struct.unpack(f"{order}HHIIHH", body[:16])
    bits = -(-bits // 8) * 8  # 12 and 20 bits stand in 16 and 24
    if tag == EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack(f"{order}H", body[24:26])[0]
    said = {"channels": channels, "rate": rate_hz, "bits": bits}
    true = _vote(channels, rate_hz, byte_rate, align, bits)
    if tag in SURELY_COMPRESSED or (tag in COMPRESSED and not (bits in (16, 24) and align == channels * bits // 8)):
        return Header(container, None, channels, rate_hz, first_byte, big_endian=order == ">", format_number=tag)
    subtype = SUBTYPES.get((tag, true["bits"])) or {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32", 64: "DOUBLE"}.get(true["bits"])
    if subtype is None:
        return None
    notes = [f"the header's {what} ({said[what]}) contradicts the rest of it; read as {true[what]}" for what in said if said[what] != true[what]]
    if (tag, true["bits"]) not in SUBTYPES:
        notes.append(f"the header's format {tag} is none that is known; read as {subtype}")
    return Header(container, subtype, true["channels"], true["rate"], first_byte, big_endian=order == ">", notes=notes)


def _vote(channels: int, rate_hz: int, byte_rate: int, align: int, bits: int) -> dict[str, int]:
    """The channels, rate and bits that agree with most of the five numbers; the header's own where nothing is better."""
    all_bits = dict.fromkeys([bits, 16, 24, 32, 8, 64])
    all_channels = dict.fromkeys([channels, *(align * 8 // b for b in all_bits if b and align * 8 % b == 0)])
    rates = dict.fromkeys([rate_hz, *(byte_rate // a for a in (align, channels * bits // 8) if a and byte_rate % a == 0)])
    votes: Counter = Counter()
    for c, r, b in product(all_channels, rates, all_bits):
        if 0 < c <= MOST_CHANNELS and LOWEST_RATE_HZ <= r <= HIGHEST_RATE_HZ and b in (8, 16, 24, 32, 64):
            votes[c, r, b] = (c == channels) + (r == rate_hz) + (b == bits) + (align == c * b // 8) + (byte_rate == r * c * b // 8)
    if not votes:
        return {"channels": channels, "rate": rate_hz, "bits": bits}
    best = max(votes, key=lambda key: (votes[key], key[1] % 250 == 0 or key[1] % 11025 == 0))  # the first of equals: the header's own word
    return dict(zip(("channels", "rate", "bits"), best))
