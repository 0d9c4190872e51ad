"""A season of recordings, in a folder or a bucket, into one set of tables: on this machine's cores or on a cluster, and nothing lost.

What lies on disk, and what it means, stands in `pipeline.archive`. A run that was killed goes on where it stopped; a recording that cannot be read is
noted in `effort` and the run goes on; runs on the same output folder share the work. Nothing depends on who did what, or when.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd

from pipeline.archive import Archive
from pipeline.denoised import chosen as chosen_denoiser
from pipeline.engine import Cluster, ThisProcess, plan
from pipeline.joining import check_level_row
from pipeline.overrides import read_overrides, strangers
from pipeline.local_workers import sensible_workers
from pipeline.parts import Job, Part
from pipeline.progress import Bar, say
from pipeline.ripening import SETTLE_S
from pipeline.single import load, override, species_of
from pipeline.sources import find_recordings, list_recordings
from pipeline.splitting import Splitter, limit_s, stretches
from pipeline.time_limit import check_limit
from pipeline.watch import Watch
from pipeline.worker import NoWorkers, model_ref
from spectrogram.addresses import is_remote, parted
from spectrogram.names import zone


def run_multi_file_pipeline(input_dir, output_dir, model=None, *, profile=None, thresholds=None, channel: int = 0, overrides=None, clock: str | None = None,
                            level_row_s: int = 60, workers: int | None = None, scheduler=None, watch: bool = False, settle_s: float = SETTLE_S,
                            device: str | None = None, csv: bool = False, raven: bool = True, again: bool = False, progress: bool = True, denoise=None,
                            split_s: float | None = None, time_limit_s: float | None = None, gone: str | None = None, species: bool = True) -> pd.DataFrame:
    """Find and name the calls in a folder, a bucket or a web folder of recordings (any depth).

    Parameters
    ----------
    input_dir : folder, one file, or an address: s3://bucket/prefix, https://host/folder/.
    output_dir : where the tables go (README.md, "What comes out").
    overrides : CSV with start times, serials, sensitivities (`pipeline.overrides.read_overrides`).
    workers : processes, one core each; none: as many as there are cores and memory for, and this process alone where there is little to do.
    scheduler : address of a Dask scheduler, or a Client; none: DASK_SCHEDULER_ADDRESS in `.env`, else this machine.
    watch : go on and take up files as a recorder finishes them, until Ctrl-C. settle_s : how long such a file must have rested.
    split_s : recordings longer than this (seconds) are cut into stretches that workers share, with the same tables; none: two hours, where there are fewer
        than four recordings for each of several workers; inf: none is. Remote and denoised recordings stay whole.
    time_limit_s : how long a recording may take to be fetched, and then to be done, before it counts as failed and the others go on; none: an hour, and 4 s
        for each megabyte.
    gone : what becomes of recordings that are in the output folder and not in the input; none: those that vanished keep their rows, called `gone` in `effort`,
        and another input is refused; "keep": the rows of another input stay too; "drop": all these rows go.
    csv, raven : also write CSV tables, Raven selection tables. again : do finished recordings anew, and try failed ones.
    The rest : as for `run_pipeline_single_audio`.

    Returns
    -------
    Summary, one row for each recording: effort and how many events of each label it holds.

    Raises
    ------
    NothingFound
        if there is no recording. Faults of single recordings are printed, noted in `effort`, and do not stop the run.
    OtherSettings, OtherInput
        (ValueError) where a run with other settings is at work in the output folder, or it holds recordings of another input.
    OSError
        where tables cannot be written, a remote place cannot be listed, or workers do not come. Finished recordings are kept.
    """
    sources = list_recordings(input_dir) if watch else find_recordings(input_dir)
    given = read_overrides(overrides)
    loaded = load(model, profile, device)
    chosen = override(loaded.thresholds, thresholds)
    denoise = str(Path(denoise).resolve()) if denoise is not None and Path(denoise).exists() else denoise  # a folder, wherever a worker stands
    denoised_by = chosen_denoiser(denoise, loaded)[1]
    check_level_row(level_row_s)
    limit_s(split_s, 0, 1)
    check_limit(time_limit_s)
    if workers is not None and workers < 1:
        raise ValueError(f"workers = {workers}: give 1 or more")
    archive = Archive(Path(output_dir), loaded, chosen, {"channel": channel, "level_row_s": int(level_row_s), "denoise": denoised_by}, zone(clock or os.environ.get("TIMEZONE")),
                      given, raven, again, say, denoise, time_limit_s, gone, species_of(loaded.profile, species))
    unknown = strangers(given, [source.name for source in sources])
    if unknown and not watch:
        say(f"{overrides}: no recording is called {', '.join(unknown)}; give paths below {input_dir}, or file names")
    try:
        if watch:
            archive.look_back([archive.job(source) for source in sources], parted(str(input_dir)).where.rstrip("/") if is_remote(input_dir) else os.path.abspath(input_dir))
            with _engine([], workers, scheduler, model, loaded, profile, device) as engine:
                splitter = Splitter(archive, limit_s(split_s, 0, engine.workers))
                watching = Watch(input_dir, archive, splitter, settle_s, csv)
                try:
                    finished = watching.run(lambda jobs, elsewhere, keep: _done(archive, engine, splitter, jobs, elsewhere, keep))
                except NoWorkers:
                    archive.join(watching.in_order(), csv, watching.listed)
                    raise
            return archive.join(finished, csv, watching.listed)
        jobs = [archive.job(source) for source in sources]
        todo = archive.to_do(jobs)
        if todo:
            with _engine(_sizes(todo, loaded.profile, split_s, workers), workers, scheduler, model, loaded, profile, device) as engine, Bar(todo, progress) as bar:
                splitter = Splitter(archive, limit_s(split_s, len(todo), engine.workers))
                if engine.workers > 1:
                    todo.sort(key=lambda job: -job.source.size)  # the longest first, so that all end at about the same time
                for done in _done(archive, engine, splitter, todo, bar.skip):
                    bar.show(*done)
        return archive.join(jobs, csv)
    finally:
        archive.claims.free_all()


def _sizes(todo: list[Job], profile, split_s: float | None, workers: int | None) -> list[tuple[float, bool]]:
    """(bytes, remote) of each piece of work there will be on this machine: of recordings, and of stretches of those that will be split."""
    limit, pieces = limit_s(split_s, len(todo), workers or sensible_workers()), []
    for job in todo:
        cuts = [] if limit == float("inf") else stretches(job, profile, limit)
        pieces += [(job.source.size / max(1, len(cuts)), job.source.remote)] * max(1, len(cuts))
    return pieces


def _engine(todo: list[tuple[float, bool]], workers: int | None, scheduler, model, loaded, profile, device):
    """Who does the work; see `pipeline.engine.plan`."""
    scheduler = scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS") or None
    if scheduler is not None:
        return Cluster(model_ref(model, loaded, profile, device), loaded.profile, scheduler=scheduler)
    processes, threads = plan([size for size, _ in todo], workers)
    if not todo and workers:  # a live folder
        processes, threads = workers, 1
    if processes == 1:
        return ThisProcess(loaded, threads)
    return Cluster(model_ref(model, loaded, profile, device), loaded.profile, processes, threads, any(remote for _, remote in todo))


def _done(archive: Archive, engine, splitter: Splitter, jobs: Iterable[Job | None], elsewhere, keep=None) -> Iterator[tuple[Job | None, Part | None]]:
    """Have the jobs done and keep their parts; also tells of stretches. (None, None): nothing new just now. `keep(part, job)`: else as is usual."""
    keep = keep or (lambda part, job: (splitter if job.stretch else archive).keep(part, job))
    given: dict[str, Job] = {}

    def units():
        for job in archive.claimed(jobs, elsewhere):
            yield from [None] if job is None else splitter.units(job)
            while splitter.whole:
                yield splitter.whole.popleft()
        while splitter.open:
            yield splitter.whole.popleft() if splitter.whole else None

    def ours():
        for unit in units():
            if unit is not None:
                given[unit.key] = unit
            yield unit

    with closing(engine.parts(ours())) as parts:
        for part in parts:
            if part is None:
                yield None, None
            else:
                unit = given.pop(part.key)
                keep(part, unit)
                yield unit, part
            for job, part in splitter.joined():
                keep(part, job)
                yield job, part
