"""Which column names the recording, and which columns look like times or recordings without being known.

Nobody may take a table for one about whole recordings, or name it after its file, while it holds
what looks like a time or a recording: such a table is refused with the names of the columns.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from preprocessing.csv_columns import spellings
from preprocessing.recordings import RecordingIndex
from preprocessing.text_table import CLOCK, BadAnnotation, TextTable, number
from spectrogram.recording import EXTENSIONS

# Names as of `key`, the likelier first.
RECORDING = tuple(
    "recording file file_name filename audio_file audio sound_file sound_files clip_filename "
    "clipfilename wav path in_file notated_path audio_path audio_filename audio_file_path "
    "file_path filepath wav_file wavfile soundfile begin_file begin_path".split()
)
TIME_WORDS = set(
    "start begin begins onset end ends stop offset time times timestamp datetime utc t0 t1 t s "
    "sec secs seconds ms msec us".split()
)
TIME_PREFIX = re.compile(
    r"(start|begin|beg_|onset|offset|stop|(end(?!ang|em))|min_?t(_|$)|max_?t(_|$)|timestamp)"
)
TIME_NAMES = set("from to until till beg minute minutes debut fin inicio".split())  # whole names alone
NO_TIME = set("freq frequency hz khz zone timezone duration dur length level db".split())
NAMES_A_FILE = re.compile(r"(?<!_in)(?<!_of)_(file|path)$")  # begin_file; but time_in_file, file_offset
FILE_WORDS = set("file files filename filenames filepath path wav recording recordings".split())
MAY_BE_FILES = re.compile(r"file|path|wav|sound|audio|record|clip")
LONG_NUMBER = re.compile(r"\d{4}")  # a date, a serial: what names of recordings hold
# sound files that tables name, though this project does not read them
OTHER_SOUNDS = (".mp3", ".ogg", ".m4a", ".wma", ".sud", ".x3", ".dat")
OTHER_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,7}$")


def recording_column(table: TextTable, index: RecordingIndex) -> int | None:
    """The column that names the recording: of those known by name the first that holds names of
    sound files, else any that does, else the first known by name.

    Raises
    ------
    BadAnnotation
        where columns of unknown names hold different sound files, or only look as if they named
        them.
    """
    keys = [spellings(column) for column in table.columns]
    known = [place for name in RECORDING for place, texts in enumerate(keys) if name in texts]
    known = list(dict.fromkeys(known))
    sounds = [
        place for place in range(len(keys)) if any(_is_sound(text) for text in table.texts(place))
    ]
    if not sounds and not known and len(index):
        sounds = [
            place
            for place in range(len(keys))
            if len(table) and all(_in(index, text) for text in table.texts(place))
        ]
    first = next((place for place in known if place in sounds), None)
    if first is not None:
        return first
    if known and not all(_other_file(text) for text in table.texts(known[0])):
        return known[0]
    if len({tuple(table.texts(place)) for place in sounds}) > 1:
        raise BadAnnotation(
            f"{table.path}: columns {_listed(table, sounds)} all hold names of sound files; call "
            "the one that is meant `recording`"
        )
    if sounds:
        return sounds[0]
    doubtful = [
        place for place in range(len(keys)) if _may_name_files(keys[place], table.texts(place))
    ]
    if doubtful:
        raise BadAnnotation(
            f"{table.path}: {_columns(table, doubtful)} may name recordings; call the one that "
            "does `recording`, or give its names their ending (.wav)"
        )
    return known[0] if known else None


def _is_sound(text: str) -> bool:
    return PurePosixPath(text.strip().replace("\\", "/")).suffix.lower() in (
        *EXTENSIONS,
        *OTHER_SOUNDS,
    )


def _other_file(text: str) -> bool:
    return bool(OTHER_FILE.search(text.strip())) and not _is_sound(text)


def _in(index: RecordingIndex, text: str) -> bool:
    try:
        return index.find(text) is not None
    except LookupError:
        return True


def _may_name_files(names: list[str], texts: list[str]) -> bool:
    """Whether a column's name and its cells look like those of recordings whose files have lost
    their ending."""
    filled = [text.strip() for text in texts if text.strip()]
    if not filled or any(_is_value(text) for text in filled):
        return False
    if any(name.split("_")[-1] in FILE_WORDS for name in names):
        return True
    return any(MAY_BE_FILES.search(name) for name in names) and all(
        LONG_NUMBER.search(text) for text in filled
    )


def _is_value(text: str) -> bool:
    """A number, a time, a date or a file that holds no sound; but not 6872.220716021453, a serial
    and a moment."""
    if number(text) is not None:
        return not re.search(r"\d{10}", text)
    return bool(CLOCK.search(text) or _other_file(text) or re.match(r"\d{4}-\d\d", text))


def time_like(table: TextTable, apart_from: set[int | None] = frozenset()) -> list[int]:
    """Columns that look like times, by their names or by cells as 00:01:12."""
    places = []
    for place, column in enumerate(table.columns):
        words = [text.split("_") for text in spellings(column)]
        named = any(
            (TIME_WORDS & set(parts) or "_".join(parts) in TIME_NAMES or TIME_PREFIX.match("_".join(parts)))
            and not NO_TIME & set(parts)
            and not NAMES_A_FILE.search("_".join(parts))
            for parts in words
        )
        cells = [text.strip() for text in table.texts(place) if text.strip()]
        clocked = bool(cells) and all(CLOCK.fullmatch(cell) for cell in cells)
        if place not in apart_from and (named or clocked):
            places.append(place)
    return places


def refuse_times(table: TextTable, apart_from: set[int | None]) -> None:
    """Raise BadAnnotation where a table without a column of starts has columns that look like
    times."""
    places = time_like(table, apart_from)
    if places:
        raise BadAnnotation(
            f"{table.path}: no column is known to hold starts, though {_columns(table, places)} "
            "may be times; call the start start_s and the end end_s or duration_s, in "
            "seconds from the recording's beginning; where each row is about a whole recording, "
            "rename or leave out what looks like a time"
        )


def _columns(table: TextTable, places: list[int]) -> str:
    return f"column{'s' * (len(places) > 1)} {_listed(table, places)}"


def _listed(table: TextTable, places: list[int]) -> str:
    return ", ".join(repr(table.columns[place]) for place in places)
