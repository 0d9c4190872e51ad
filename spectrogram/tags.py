"""Comments in sound files, whatever holds them, as one kind of fields: LIST INFO of a WAV, Vorbis
comments of a FLAC, ID3 tags.

Each function takes the bytes of one block and returns name -> text, names in lower case without
signs ("ICMT" is `icmt`, "Serial Number" `serialnumber`). Damaged bytes say nothing. Sources:
Microsoft's RIFF 1.0; the Ogg Vorbis I specification, chapter 5; ID3 2.3 and 2.4.
"""

from __future__ import annotations

import re

MOST_FIELDS = 256
ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}  # of ID3's texts
WITH_LANGUAGE = ("COMM", "USLT")


def info(body: bytes) -> dict[str, str]:
    """LIST INFO: name (4 bytes), length, text, padded to an even length."""
    fields: dict[str, str] = {}
    at = 0
    while at + 8 <= len(body):
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        fields.setdefault(
            _plain(body[at : at + 4].decode("latin-1")),
            _text(body[at + 8 : at + 8 + length].split(b"\0")[0]),
        )
        at += 8 + length + length % 2
    return fields


def vorbis(body: bytes) -> dict[str, str]:
    """Vorbis comments: the writer's name, then NAME=text, each with its length before it."""
    at = 4 + int.from_bytes(body[:4], "little")
    count, at = int.from_bytes(body[at : at + 4], "little"), at + 4
    fields: dict[str, str] = {}
    for _ in range(min(count, MOST_FIELDS)):
        length = int.from_bytes(body[at : at + 4], "little")
        name, mark, text = _text(body[at + 4 : at + 4 + length]).partition("=")
        if mark:
            fields.setdefault(_plain(name), text)
        at += 4 + length
        if at >= len(body):
            break
    return fields


def id3(body: bytes) -> dict[str, str]:
    """ID3, version 2.3 and 2.4: a text frame under its name, one of the user's own (TXXX) and a
    comment under what they call themselves, a comment without such a name as `comment`."""
    if body[:3] != b"ID3" or body[3] not in (3, 4):
        return {}
    fields: dict[str, str] = {}
    at, end = 10, 10 + _seven_bits(body[6:10])
    while (
        at + 10 <= min(end, len(body)) and body[at : at + 4].isalnum() and len(fields) < MOST_FIELDS
    ):
        name = body[at : at + 4].decode("ascii", "replace")
        length = (
            _seven_bits(body[at + 4 : at + 8])
            if body[3] == 4
            else int.from_bytes(body[at + 4 : at + 8], "big")
        )
        frame, at = body[at + 10 : at + 10 + length], at + 10 + length
        if frame and (name[0] == "T" or name in WITH_LANGUAGE):
            start = 4 if name in WITH_LANGUAGE else 1
            parts = (
                frame[start:]
                .decode(ENCODINGS.get(frame[0], "latin-1"), "replace")
                .replace("\ufeff", "")
                .strip("\0")
                .split("\0")
            )
            known_as = parts[0] if len(parts) > 1 else "comment" if name in WITH_LANGUAGE else name
            fields.setdefault(_plain(known_as), parts[-1])
    return fields


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip("\0 ")


def _seven_bits(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
    return value
