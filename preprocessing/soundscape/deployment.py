"""A folder that looks like a hydrophone's memory card, with the truth beside the sound.

    FOLDER/SERIAL.YYMMDDHHMMSS.wav                         16-bit PCM, calibrated by the serial's sensitivity
    FOLDER/SERIAL.YYMMDDHHMMSS.Table.1.selections.txt      Raven selection table, audible calls and boats only
    FOLDER/truth.csv                                       one row per call or passage, audible or not
    FOLDER/confusers.csv                                   knocks, snaps, tones and the like: what must not be named
    FOLDER/deployment.json                                 seed, site, parameters, code version; written last: it is there, the folder is whole
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd

from .randomness import generator
from .recorder import soundtrap_name, to_int16
from .scene import Scene, Settings
from .sites import SENSITIVITY_DB, Site, get_site
from .truth import COLUMNS, write_raven

DRAWS = {1: 3, 2: 4}  # by version of the simulator: raised when the same seed gives other samples


def simulate_deployment(
    folder: str | Path, site: str | Site, seed: int, n_recordings: int = 4, recording_s: float = 300.0, start_utc: datetime | None = None,
    sample_rate_hz: int | None = 192_000, *, version: int = 2, gap_s: float | Sequence[float] = 0.0, serial: str | None = None, boats: bool | None | Sequence[bool | None] = None, n_jobs: int = 1,
    progress: bool = True, **settings,
) -> Path:  # fmt: skip
    """Write a simulated deployment; returns its folder.

    Parameters
    ----------
    folder : made if absent; files of the same name are replaced
    site, seed : which place, which draw; the same arguments give the same files, bit for bit, whatever n_jobs
    n_recordings, recording_s : how many, how long
    sample_rate_hz : None for the real background's own (see `scene.Settings`)
    version : of the simulator; 1 gives what it gave before there was a 2, bit for bit
    start_utc : start of the first recording, with its zone; default 2022-07-16 02:14:53 UTC
    gap_s : pause between recordings, one number or one for each gap (n_recordings - 1)
    serial : of the recorder; default one of the site's, by seed
    n_jobs : processes
    boats : None by chance, True or False, or one of these for each recording
    **settings : other fields of `scene.Settings`, for all recordings

    Raises
    ------
    ValueError for an unknown site or serial, or a number of gaps or boats that does not fit.
    """
    site, folder = get_site(site), Path(folder)
    start_utc = start_utc or datetime(2022, 7, 16, 2, 14, 53, tzinfo=timezone.utc)
    serial = serial or site.serials[int(generator(seed, site.name, "serial").integers(len(site.serials)))]
    if serial not in SENSITIVITY_DB and settings.get("sensitivity_db") is None:
        raise ValueError(f"serial {serial!r} has no known sensitivity; give sensitivity_db, or one of {', '.join(SENSITIVITY_DB)}")
    gaps = [float(gap_s)] * (n_recordings - 1) if isinstance(gap_s, (int, float)) else [float(g) for g in gap_s]
    if n_recordings > 0 and len(gaps) != n_recordings - 1:
        raise ValueError(f"{n_recordings} recordings have {n_recordings - 1} gaps between them, {len(gaps)} given")
    asked = replace(Settings(sample_rate_hz=sample_rate_hz, version=version), **settings)
    if asked.sensitivity_db is None:
        asked = replace(asked, sensitivity_db=SENSITIVITY_DB[serial])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deployment.json").unlink(missing_ok=True)
    each = [boats] * n_recordings if boats is None or isinstance(boats, bool) else list(boats)
    if len(each) != n_recordings:
        raise ValueError(f"boats is given for {len(each)} of {n_recordings} recordings")
    jobs, start = [], start_utc
    for i in range(n_recordings):
        jobs.append((folder, site, seed, i, recording_s, replace(asked, boats=each[i]), soundtrap_name(serial, start)))
        start += timedelta(seconds=recording_s + (gaps[i] if i < len(gaps) else 0))
    done = _run(jobs, n_jobs, progress, f"simulating {site.name}")
    rows = pd.concat([d[0] for d in done if len(d[0])] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)
    rows.to_csv(folder / "truth.csv", index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")
    others = pd.DataFrame([(job[-1], *c) for job, d in zip(jobs, done) for c in d[1]], columns=["recording", "kind", "start_s", "end_s"])
    others.to_csv(folder / "confusers.csv", index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")
    about = _parameters(site, seed, n_recordings, recording_s, start_utc, gaps, serial, each, asked)
    about["recordings"] = {job[-1]: d[2] for job, d in zip(jobs, done)}
    (folder / "deployment.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def _parameters(site, seed, n_recordings, recording_s, start_utc, gaps, serial, boats, settings) -> dict:
    return {
        "simulated": True, "note": "SIMULATED sound: no whale was recorded.", "simulator_version": DRAWS[settings.version], "site": site.name, "seed": seed, "serial": serial,
        "n_recordings": n_recordings, "recording_s": recording_s, "start_utc": start_utc.astimezone(timezone.utc).isoformat(), "gap_s": list(gaps), "boats": boats,
        "settings": {**asdict(settings), "background": None if settings.background is None else str(settings.background)},
    }  # fmt: skip


def _run(jobs: list[tuple], n_jobs: int, progress: bool, title: str) -> list[tuple]:
    from tqdm import tqdm

    total = sum(job[4] for job in jobs)
    with tqdm(total=round(total), unit="s", desc=title, disable=not progress) as bar:
        if n_jobs <= 1:
            return [_write_recording(*job, bar.update) for job in jobs]
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(_write_recording, *job) for job in jobs]
            done = []
            for job, future in zip(jobs, waiting):
                done.append(future.result())
                bar.update(job[4])
            return done


def _write_recording(folder: Path, site: Site, seed: int, index: int, recording_s: float, settings: Settings, name: str, tick=None) -> tuple:
    """Write one WAV and its selection table; returns (truth rows, confusers, description)."""
    import soundfile

    scene = Scene(site, seed, recording_s, settings, index, name)
    with soundfile.SoundFile(folder / name, "w", scene.rate, 1, "PCM_16", format="WAV") as file:
        for block in scene.blocks():
            file.write(to_int16(block, scene.sensitivity_db))
            if tick is not None:
                tick(len(block) / scene.rate)
    write_raven(scene.truth, name, folder)
    return scene.truth, scene.confusers, scene.describe()


def demo_deployment(folder: str | Path, seed: int = 7, progress: bool = True) -> Path:
    """A small deployment to show the pipeline with: three recordings of 75 s, a gap of four minutes before the last, calls of all kinds, a boat in the second.

    If the folder already holds it, nothing is done. Otherwise a few seconds of work.
    """
    folder = Path(folder)
    start = datetime(2022, 7, 16, 2, 14, 53, tzinfo=timezone.utc)
    wanted = {"demo": 1, "seed": seed, "simulator_version": DRAWS[2]}
    mark = folder / "deployment.json"
    if mark.exists():
        try:
            if json.loads(mark.read_text(encoding="utf-8")).get("demonstration") == wanted:
                return folder
        except ValueError:
            pass  # half written: make it again
    simulate_deployment(
        folder, "BSM", seed, 3, 75.0, start, gap_s=[0.0, 240.0], serial="6872", progress=progress, call_rate_per_min=16, diphonic_share=0.35,
        range_m=140.0, call_mix={"ECHO": 0.25, "HFPC": 0.25, "BBPC": 0.2, "Whistle": 0.3}, boats=[False, True, None], boats_per_hour=4.0, wind_m_per_s=3.0, rain=False,
        confusers_per_min=5.0, confuser_mix={"knock": 2, "snap": 2, "chain": 1, "sounder": 1, "pinger": 1, "wave": 1},
    )  # fmt: skip
    about = json.loads(mark.read_text(encoding="utf-8"))
    about["demonstration"] = wanted
    mark.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder
