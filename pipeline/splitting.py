"""Long recordings shared among workers: which are split, and their stretches kept and joined as they come in.

A recording that is split is claimed as a whole; its stretches (`pipeline.stretches`) go to the workers as pieces of work of their own, and this process joins what comes
back, in order of time. `parts/stretches/KEY.stretch-FIRST-LAST.zip` is a stretch that is made; it stays until the recording's part is written, so a run that was killed
makes no stretch twice. Whatever is wrong with a stretch, the recording is done whole instead: then its faults come out as they always do.

A recording stays whole where its model hears denoised sound (the denoiser looks back over all that was before), and where it is remote: each worker would fetch all of it.
"""
from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.parts import CHANGED, Job, Part, part_of, write_part
from pipeline.stretches import Counting, Rejoined, Stretch, cut, stretch_footer
from pipeline.time_limit import LOOK_AT_MOST_S, within
from spectrogram.chunks import CHUNK_S
from spectrogram.recording import Recording

LONG_S = 7200.0          # recordings longer than this are split where nothing else is told ...
FEW = 4                  # ... and there are fewer than so many recordings for each worker: else there is always another one for another core
LEAST_BYTES = 1000       # of a second of sound: smaller files need not be opened to see that they are not long
JOIN_AT_ONCE_S = 2.0     # then new work is given out again


def limit_s(split_s: float | None, recordings: int, workers: int) -> float:
    """Seconds above which recordings are split. ValueError for a wrong `split_s`."""
    if split_s is not None and not split_s >= CHUNK_S:
        raise ValueError(f"split_s = {split_s}: give seconds, at least {CHUNK_S}, or inf for recordings that stay whole")
    if split_s is not None:
        return float(split_s)
    return LONG_S if workers > 1 and recordings < FEW * workers else float("inf")


def stretches(job: Job, profile, limit_s: float) -> list[Stretch]:
    """The stretches that a recording is cut into; one or none: it stays whole."""
    if job.stretch or job.source.remote or job.made["settings"].get("denoise") or job.source.size < limit_s * LEAST_BYTES:
        return []
    if profile.window_frames > CHUNK_S * profile.frame_rate_hz:
        return []
    try:
        recording = within(LOOK_AT_MOST_S, Recording, job.source.where, job.channel)
    except Exception:  # said when it is its turn
        return []
    return cut(recording.frames, recording.sample_rate_hz, limit_s) if recording.duration_s > limit_s else []


@dataclass
class _Open:
    """A recording whose stretches are being made: those still to be joined, in order, and where they lie."""

    job: Job
    rejoined: Rejoined
    waiting: deque = field(default_factory=deque)
    here: set[Stretch] = field(default_factory=set)


class Splitter:
    """See the module's docstring.

    Attributes
    ----------
    whole : recordings that could not be joined and are to be done whole. open : whether any is being made, or waits in `whole`.
    """

    def __init__(self, archive, limit_s: float):
        self.archive, self.limit_s, self.whole = archive, limit_s, deque()
        self._recordings: dict[str, _Open] = {}

    @property
    def open(self) -> bool:
        return bool(self._recordings or self.whole)

    def units(self, job: Job) -> list[Job]:
        """The job itself, or a job for each of its stretches that is still to be made."""
        cuts = stretches(job, self.archive.model.profile, self.limit_s)
        if len(cuts) < 2:
            return [job]
        try:
            rejoined = Rejoined(job.open(Path(job.source.where), Counting), self.archive.model, job.thresholds, job.level_row_s, job.source.name, self.archive.species)
        except Exception:  # gone meanwhile
            return [job]
        there = {path: stretch_footer(path) for path in self.archive.stretches_of(job.key)}
        here = {found["stretch"] for path, found in there.items() if found.get("fingerprint") == job.fingerprint and found["stretch"] in cuts}
        for path, found in there.items():
            if found.get("stretch") not in here:
                path.unlink(missing_ok=True)
        self._recordings[job.key] = _Open(job, rejoined, deque(cuts), here)
        return [replace(job, key=f"{job.key}.stretch-{stretch}", stretch=stretch) for stretch in cuts if stretch not in here]

    def keep(self, part: Part, unit: Job) -> None:
        """Write what was made of a stretch."""
        key = unit.key.removesuffix(f".stretch-{unit.stretch}")
        recording = self._recordings.get(key)
        if recording is None:  # given up meanwhile
            return
        if part.failed:
            self._give_up(recording)
        else:
            write_part(part, self.archive.stretch_file(key, unit.stretch))
            recording.here.add(unit.stretch)

    def joined(self) -> list[tuple[Job, Part]]:
        """Join what can be joined, for a moment; the recordings that are finished thereby."""
        finished, until = [], time.monotonic() + JOIN_AT_ONCE_S
        for recording in list(self._recordings.values()):
            job = recording.job
            try:
                while recording.waiting and recording.waiting[0] in recording.here and time.monotonic() < until:
                    recording.rejoined.push(self.archive.stretch_file(job.key, recording.waiting.popleft()))
                if recording.waiting:
                    continue
                finished.append((job, part_of(job, recording.rejoined.result(), CHANGED if job.source.changed_since and not job.source.vanished else "")))
                del self._recordings[job.key]
            except Exception:  # a damaged stretch, a file that changed: done whole, what is wrong is said
                self._give_up(recording)
        return finished

    def _give_up(self, recording: _Open) -> None:
        del self._recordings[recording.job.key]
        self.whole.append(recording.job)
