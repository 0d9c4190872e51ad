"""What a run tells while it works: a bar with how many times faster than real time it goes and how
long it will take, and lines.

Lines go to the screen, and with `logged` into a file too. SEA_CANARY_SCREEN names a file that
stands for the screen where a run is deep in a notebook: `make run` shows
what is written there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from spectrogram.addresses import untold

SCREEN = "SEA_CANARY_SCREEN"
COLUMNS = 100  # of a screen whose width nobody tells
_LOGS: list[Path] = []
_SCREENS: dict[str, object] = {}


def shown(line: str) -> str:
    """The line as a terminal may have it: without secrets of addresses, and with control and other invisible
    characters, which names of files may hold, written out.

    >>> shown("\x1b[31mred.wav")
    '\\\\x1b[31mred.wav'
    """
    line = untold(line)
    return line if line.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def say(line: str) -> None:
    """Print a line above the bar, and keep it in the log."""
    from tqdm.auto import tqdm

    line = shown(line)
    tqdm.write(line)
    if _screen():
        tqdm.write(line, file=_screen())
    log(line)


def log(line: str) -> None:
    """Keep a line that is printed elsewhere."""
    for path in _LOGS:
        _append(path, f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {shown(line)}\n")


def _screen():
    """The file that stands for the screen, open; none: the screen is the screen."""
    name = os.environ.get(SCREEN)
    if name and name not in _SCREENS:
        _SCREENS[name] = open(name, "a", encoding="utf-8", errors="replace")
    return _SCREENS.get(name)


@contextmanager
def logged(path: str | Path | None) -> Iterator[None]:
    """Keep what is said, each line with its time (UTC), at the end of this file; none: nowhere.

    Raises
    ------
    OSError
        where the file cannot be written. Later, a full disk, say, does not stop a run for its log.
    """
    if path is None:
        yield
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise OSError(
            f"{path}: the log cannot be written ({error.strerror or error}); "
            "give --log another file"
        ) from None
    _LOGS.append(Path(path))
    try:
        yield
    finally:
        _LOGS.pop()


def _append(path: str | Path, text: str) -> None:
    with suppress(OSError), open(path, "a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def closing_line(table, output) -> str:
    """What a run found, in one line: events, recordings, faults, and where the tables are.
    `table`: the run's summary."""
    counts = {
        status: int((table["status"] == status).sum()) for status in ("failed", "partial", "gone")
    }
    faults = f"{counts['failed']} failed" + (
        f", {counts['partial']} only in part" if counts["partial"] else ""
    )
    faults += f", {counts['gone']} no longer there" if counts["gone"] else ""
    hours, events = table["duration_s"].sum() / 3600, table["events"].sum()
    passing = table["passing"].sum() if "passing" in table else events
    said = f"{events} events" if passing == events else f"{events} events, {passing} of them pass"
    return f"{len(table)} recordings, {hours:.2f} h: {said}; {faults}. Tables in {output}"


class Bar:
    """Counts bytes, because they are known beforehand; the length of the sound is not.

    >>> with Bar(jobs, show=True) as bar:               # doctest: +SKIP
    ...     bar.show(job, part)
    """

    def __init__(self, jobs: list, show: bool):
        from tqdm import tqdm as plain
        from tqdm.auto import tqdm

        self.n, self.total, self.sound_s, self.began = 0, len(jobs), 0.0, time.monotonic()
        self._stretches: dict[
            str, tuple[int, float]
        ] = {}  # recording -> bytes and seconds of its stretches, shown already
        options = {
            "total": sum(max(job.source.size, 0) for job in jobs),
            "unit": "B",
            "unit_scale": True,
            "disable": not show,
            "smoothing": 0.1,
            "bar_format": "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
        }
        self.bar = plain(file=_screen(), ncols=COLUMNS, **options) if _screen() else tqdm(**options)
        self._show()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def show(self, job=None, part=None) -> None:
        """A recording is done, or a stretch of one is made, or time has passed."""
        if job is not None:
            name, size, sound_s = job.source.name, max(job.source.size, 0), part.sound_s
            shown, shown_s = self._stretches.pop(name, (0, 0.0))
            if job.stretch:
                first, last = job.stretch.share
                size = int(size * (last - first))
                self._stretches[name] = shown + size, shown_s + sound_s
            else:
                self.n, size, sound_s = self.n + 1, size - shown, sound_s - shown_s
            self.sound_s += sound_s
            self.bar.update(size)
        self._show()

    def skip(self, job) -> None:
        """Another run did it."""
        self.total -= 1
        self.bar.total -= max(job.source.size, 0)

    def _show(self) -> None:
        speed = self.sound_s / max(time.monotonic() - self.began, 1e-9)
        self.bar.set_postfix_str(
            f"{self.n} of {self.total} recordings, {self.sound_s / 3600:.2f} h, "
            f"{speed:.0f} x real time"
        )
