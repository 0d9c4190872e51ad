"""What a run tells while it works: a bar with how many times faster than real time it goes and how long it will take, and lines."""
from __future__ import annotations

import time

from spectrogram.addresses import untold


def shown(line: str) -> str:
    """The line as a terminal may have it: without secrets of addresses, and with control and other invisible
    characters, which names of files may hold, written out.

    >>> shown("\x1b[31mred.wav")
    '\\\\x1b[31mred.wav'
    """
    line = untold(line)
    return line if line.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def say(line: str) -> None:
    """Print a line above the bar."""
    from tqdm.auto import tqdm

    tqdm.write(shown(line))


class Bar:
    """Counts bytes, because they are known beforehand; the length of the sound is not.

    >>> with Bar(jobs, show=True) as bar:               # doctest: +SKIP
    ...     bar.show(job, part)
    """

    def __init__(self, jobs: list, show: bool):
        from tqdm.auto import tqdm

        self.n, self.total, self.sound_s, self.began = 0, len(jobs), 0.0, time.monotonic()
        self._stretches: dict[str, tuple[int, float]] = {}  # recording -> bytes and seconds of its stretches, shown already
        self.bar = tqdm(total=sum(max(job.source.size, 0) for job in jobs), unit="B", unit_scale=True, disable=not show, smoothing=0.1,
                        bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}")
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
        self.bar.set_postfix_str(f"{self.n} of {self.total} recordings, {self.sound_s / 3600:.2f} h, {speed:.0f} x real time")
