"""What an output folder holds of earlier runs and this run's input lacks: recordings that
vanished, go by another name now, or came from another input.

Tables never shrink in silence. The rows of a recording that is no longer there stay, and `effort`
calls it `gone`. One that only goes by another name stands
once, under its new name. Recordings of another input are refused, unless the user says what
becomes of them: `gone` is "keep" (their rows stay) or "drop".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.fingerprint import DIFFERENCES
from pipeline.parts import Job, PartFile, printable, read_footer
from spectrogram.addresses import is_remote
from spectrogram.names import parse_name

CHOICES = ("keep", "drop")
DECIDE_LEVELS = ("channel", "level_row_s", "sensitivity_db", "sensitivity_curve")  # of settings


class OtherInput(ValueError):
    """The output folder holds recordings that have nothing to do with this run's input."""


@dataclass(frozen=True)
class Earlier:
    """A recording that an earlier run did: its part, and the part's footer."""

    path: Path
    made: dict = field(repr=False)

    @property
    def name(self) -> str:
        return self.made.get("input", self.path.stem)

    @property
    def where(self) -> str:
        return self.made.get("where", "")

    @property
    def root(self) -> str:
        return root_of(self.name, self.where)

    def lost(self, listed: set[str]) -> bool:
        """Whether it is no longer where it was, or of a remote one: not among the names of the
        input."""
        return self.name not in listed if is_remote(self.where) else not Path(self.where).is_file()

    def mark(self, root: str, listed: set[str], settings: dict) -> tuple[str, str]:
        """(status, what its effort row tells) where it is not as this run would have made it; ("",
        "") else.

        Parameters
        ----------
        root, listed : this run's input, and the names in it. settings : what of a part's footer is
            the same for all recordings of this run.
        """
        lost = self.lost(listed) and not (is_remote(self.where) and self.root != root)
        differing = [DIFFERENCES[key] for key in settings if self.made.get(key) != settings[key]]
        lines = [f"{printable(self.where)} is not there any more, its rows are kept"] * lost
        lines += [
            f"its rows were made with other {', '.join(differing)} than those of other recordings"
        ] * bool(differing)
        return "gone" * lost, "; ".join(lines)


class EarlierRuns:
    """What earlier runs left in an output folder, beside this run's input.

    Parameters
    ----------
    folder : of the output. settings : thresholds, model_id, code of this run. gone : "keep",
        "drop", or none: what vanished is kept, and another input
    refused. say : prints a line.
    """

    def __init__(self, folder: Path, profile, settings: dict, gone: str | None = None, say=print):
        if gone is not None and gone not in CHOICES:
            raise ValueError(f"gone = {gone!r}: give {' or '.join(CHOICES)}, or nothing")
        self.folder, self.profile, self.settings, self.gone, self.say = (
            folder,
            profile,
            settings,
            gone,
            say,
        )
        self.vanished: set[str] = (
            set()
        )  # keys of recordings that vanished before this run came to them
        self._known, self._clash, self._root = False, "", ""

    def note(self, job: Job, made: dict) -> None:
        """Compare a recording of this run with the footer of its part, if there is one."""
        self._root = self._root or root_of(job.source.name, job.made["where"])
        if not made:
            return
        if made.get("where") == job.made["where"] or (
            made.get("input_size"),
            made.get("input_changed"),
        ) == (job.source.size, job.source.changed):
            self._known = True
        elif "failed" not in made:
            self._clash = self._clash or job.source.name

    def check(self, jobs: list[Job], root: str = "") -> None:
        """Say which recordings of earlier runs the input lacks, and drop what is to be dropped;
        all jobs have been noted. `root`: the input, where it may be empty.

        Raises
        ------
        OtherInput
            where the folder holds recordings of another input and nobody said what becomes of
            them, or rows that cannot stand in one table.
        """
        self._root = self._root or root
        missing, moved = self._apart(jobs, {job.source.name for job in jobs})
        if not self._known:
            self._refuse([other for other in missing if other.root != self._root])
        if moved:
            self.say(
                f"{len(moved)} recordings go by another name now ({_first(moved)}); "
                "their rows stand once"
            )
        if missing and self.gone == "drop":
            self._remove(missing)
            self.say(
                f"{len(missing)} recordings of earlier runs are not in the input; "
                "their rows are dropped"
            )
        elif missing:
            self._fit(missing)
            self.say(
                f"{len(missing)} recordings of earlier runs are not in the input; their rows are "
                f"kept, and {self.folder / 'effort.parquet'} says which are gone"
            )

    def parts(
        self, jobs: list[Job], listed: set[str]
    ) -> tuple[list[tuple[Path, str]], dict[Path, tuple[str, str]]]:
        """(parts as `pipeline.join.join_parts` wants them, in order of the recordings' paths,
        marks of those that are not of this run).

        `listed`: names of all recordings that the input holds, done or not.
        """
        jobs = [job for job in jobs if job.key not in self.vanished]
        parts = [
            (job.source.name, part_file(self.folder, job.key), job.fingerprint) for job in jobs
        ]
        missing, moved = self._apart(jobs, listed | {job.source.name for job in jobs})
        self._remove(moved)  # they are done under their new names
        if missing:
            parts += [(other.name, other.path, other.made.get("fingerprint")) for other in missing]
            parts.sort(key=lambda part: by_path(part[0]))
        marks = {other.path: other.mark(self._root, listed, self.settings) for other in missing}
        return [part[1:] for part in parts], {
            path: mark for path, mark in marks.items() if any(mark)
        }

    def _apart(self, jobs: list[Job], listed: set[str]) -> tuple[list[Earlier], list[Earlier]]:
        """(recordings of earlier runs that are not among the jobs, those that go by another name
        there or stand twice)."""
        keys = {job.key for job in jobs}
        paths = [path for path in (self.folder / "parts").glob("*.zip") if path.stem not in keys]
        return apart(
            (Earlier(path, made) for path in paths if (made := read_footer(path))), jobs, listed
        )

    def _remove(self, others: list[Earlier]) -> None:
        for other in others:
            for path in (other.path, raven_file(self.folder, other.path.stem)):
                path.unlink(missing_ok=True)

    def _refuse(self, strangers: list[Earlier]) -> None:
        if self._clash and self.gone != "drop":
            raise OtherInput(
                f"{self.folder}: holds another recording of the name {printable(self._clash)}, "
                "of another input; choose another output folder, or "
                "--gone drop to replace it"
            )
        if strangers and self.gone is None:
            raise OtherInput(
                f"{self.folder}: holds {len(strangers)} recordings of "
                f"{printable(strangers[0].root)}, and none of {printable(self._root)}; choose another "
                "output folder, or say what becomes of their rows: --gone keep or --gone drop"
            )

    def _fit(self, missing: list[Earlier]) -> None:
        foreign = [
            other for other in missing if other.made.get("profile_hash") != self.profile.hash()
        ]
        if foreign:
            raise OtherInput(
                f"{self.folder}: holds {len(foreign)} recordings that the input lacks "
                f"({_first(foreign)}), done with "
                f"another profile ({foreign[0].made.get('profile')}): their rows and this run's "
                "cannot stand in one table; choose another output folder, "
                "or --gone drop"
            )


def _first(others: list[Earlier]) -> str:
    """The first one's name, with dots where there are more."""
    return printable(others[0].name) + " …" * (len(others) > 1)


def apart(
    earlier: Iterable[Earlier], jobs: list[Job], listed: set[str]
) -> tuple[list[Earlier], list[Earlier]]:
    """(those that are none of the jobs, those that are one of them, or of each other, under
    another name)."""
    earlier = sorted(earlier, key=lambda other: by_path(other.name))
    seen: dict[tuple, list[Path]] = {}

    def note(made: dict, part: Path) -> None:
        for identity in identities(made):
            seen.setdefault(identity, []).append(part)

    for job in jobs if earlier else ():
        note(job.made, part_file(earlier[0].path.parents[1], job.key))
    missing, moved = [], []
    for other in earlier:
        alike = {part for identity in identities(other.made) for part in seen.get(identity, ())}
        again = ("place", other.where) in seen or (
            other.lost(listed) and any(same_sound(other.path, part) for part in alike)
        )
        (moved if again else missing).append(other)
        note(other.made, other.path)
    return missing, moved


def same_sound(one: Path, other: Path) -> bool:
    """Whether two parts can be of one recording: their levels are the same, where both are made and
    made in one way. Files that a recorder writes side by side have one size and, often, one time.
    """
    made, other_made = read_footer(one), read_footer(other)
    if "failed" in {*made, *other_made} or any(made.get(key) != other_made.get(key) for key in ("code", "profile_hash")) or any(
        made.get("settings", {}).get(key) != other_made.get("settings", {}).get(key)
        for key in DECIDE_LEVELS
    ):
        return True
    with PartFile(one) as part, PartFile(other) as other_part:
        levels, others = (
            opened.table("levels").to_pandas().drop(columns=["UTC", "recording"])
            for opened in (part, other_part)
        )
    return levels.equals(others)


def identities(made: dict) -> set[tuple]:
    """What tells that two recordings are one: the place; size and time to the nanosecond; size and
    a name with serial and time. `made`: a part's footer."""
    name, size, changed = (
        made.get("input", "").rsplit("/", 1)[-1],
        made.get("input_size") or 0,
        made.get("input_changed") or "",
    )
    found = {("place", made.get("where"))}
    if (
        size > 0 and changed and not (changed.isdecimal() and int(changed) % 1_000_000_000 == 0)
    ):  # some disks know whole seconds only
        found.add(("state", size, changed))
    if size > 0 and None not in parse_name(name):
        found.add(("name", size, name))
    return found


def root_of(name: str, where: str) -> str:
    """The folder or address below which a recording of this name was found."""
    depth = name.count("/")
    if is_remote(where):
        return where.rsplit("/", depth + 1)[0]
    above = Path(where).parents
    return str(above[depth]) if depth < len(above) else ""


def by_path(name: str) -> list[str]:
    """Key that sorts names as paths are sorted."""
    return name.split("/")


def part_file(folder: Path, key: str) -> Path:
    return folder / "parts" / f"{key}.zip"


def raven_file(folder: Path, key: str) -> Path:
    return folder / "raven" / f"{key}.Table.1.selections.txt"
