"""Two years of recordings without sound: their tables simulated, joined and drawn.

    python -m bench.season [--recordings 100000] [--parts 100000]

Two recorders take turns through the years, five minutes in every ten; each recording has two calls, and a row of windows and of levels for each minute.
Prints, as lines of JSON, the seconds of joining the parts and of every section of the report, and the largest memory of the process (10^6 bytes). With
fewer `--parts` than recordings only so many are made and joined (each takes as long as the one before), and the report is drawn from tables that were
written whole.
"""
import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from bench.stages import peak_mb

EVERY_S, LASTS_S, MINUTES = 600, 300, 5
SECTIONS = ("headline", "effort_figure", "effort_by_day", "recorders", "gaps_and_clocks", "rates", "diel", "average_day", "call_types", "long_term", "failures")
LEVELS = [f"{kind}_{f:g}" for kind in ("TOL", "PSD") for f in (10, 20, 31.5, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000, 31500, 63000)]


def season(n, profile):
    """The tables of n recordings; each event is a region."""
    from pipeline.tables import EFFORT_TYPES, LEVEL_TYPES, event_types, region_types, typed, window_types

    rng, first = np.random.default_rng(7), pd.Timestamp("2022-01-01", tz="UTC")
    start = first + pd.to_timedelta(EVERY_S * np.arange(n), unit="s")
    name = pd.Series(np.where(np.arange(n) % 2, "5725.", "6872.")) + start.strftime("%y%m%d%H%M%S") + ".wav"

    def rows(each, start_s):
        """Columns that `each` rows for every recording share."""
        which = np.repeat(np.arange(n), each)
        return {"recording": name.to_numpy()[which], "start_s": start_s, "start_utc": start[which] + pd.to_timedelta(start_s, unit="s")}

    common = {"channel": 0, "calibrated": True, "model_id": "season"}
    calls = pd.DataFrame(rows(2, np.sort(rng.integers(0, LASTS_S - 1, (n, 2))).ravel().astype(float)))
    labels = rng.choice(["Whistle", "ECHO", "HFPC+Whistle", "BBPC"], 2 * n)
    events = calls.assign(end_s=calls["start_s"] + 0.5, end_utc=calls["start_utc"] + pd.Timedelta("500ms"), low_hz=4000.0, high_hz=9000.0, labels=labels,
                          diphonic=labels == "HFPC+Whistle", snr_db=12.0, level_db=110.0, **common)
    minutes = pd.DataFrame(rows(MINUTES, np.tile(np.arange(0.0, LASTS_S, LASTS_S / MINUTES), n)))
    windows = minutes.assign(p_Boat=rng.random(n * MINUTES), p_Whistle=0.1)
    levels = typed(minutes.rename(columns={"start_utc": "UTC"}).assign(duration_s=LASTS_S / MINUTES), LEVEL_TYPES)
    levels = pd.concat([levels, pd.DataFrame(rng.normal(80, 5, (n * MINUTES, len(LEVELS))).astype("float32"), columns=LEVELS)], axis=1)
    effort = pd.DataFrame({"recording": name, "start_utc": start, "end_utc": start + pd.Timedelta(seconds=LASTS_S), "duration_s": float(LASTS_S), "sample_rate_hz": 192000,
                           "status": "ok", "reason": "", "gap_before_s": np.nan, "sensitivity_db": -176.0, "missing_labels": "", **common})
    regions = events.assign(band="low", named=True)
    return {"events": typed(events, event_types(profile)), "regions": typed(regions, region_types(profile)), "windows": typed(windows, window_types(profile)), "levels": levels, "effort": typed(effort, EFFORT_TYPES)}


def write_parts(tables, n, folder):
    """A part for each of the first n recordings; (file, fingerprint) as `join_parts` wants them."""
    import pyarrow as pa

    from pipeline.parts import pack

    folder.mkdir()
    each, parts = {"events": 2, "regions": 2, "windows": MINUTES, "levels": MINUTES, "effort": 1}, []
    columns = {name: pa.Table.from_pandas(frame.iloc[:n * each[name]], preserve_index=False).combine_chunks() for name, frame in tables.items()}
    for k in range(n):
        path = folder / f"{k:06d}.zip"
        path.write_bytes(pack({name: table.slice(k * each[name], each[name]) for name, table in columns.items()}, {"fingerprint": "season"}))
        parts.append((path, "season"))
    return parts


def prepare(folder, recordings, n_parts, profile, made):
    """Simulate; write the parts, and the tables whole where not all of them are made from parts. Returns the parts."""
    from pipeline.tables import write_parquet

    tables = season(recordings, profile)
    if n_parts < recordings:
        for name, frame in tables.items():
            write_parquet(frame, folder / f"{name}.parquet", made)
    return write_parts(tables, n_parts, folder / "parts")


@contextmanager
def told(what, **more):
    """Print how long it took, and the peak memory so far."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    yield
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
    print(json.dumps({"what": what, **more, "seconds": round(seconds, 2), "cpu_s": round(cpu_s, 2), "peak_mb": round(peak_mb())}), flush=True)


def measure(folder, recordings, n_parts):
    import matplotlib

    from pipeline.join import join_parts
    from pipeline.report import Report
    from spectrogram.profile import load_profile

    matplotlib.use("Agg")
    profile = load_profile("beluga")
    made = {"model_id": "season", "profile": "beluga", "code_version": "0", "thresholds": {x: {"window": 0.5, "on": 0.6, "off": 0.3} for x in profile.labels}}
    with ProcessPoolExecutor(1, get_context("spawn")) as another:  # so that the memory is that of joining and drawing
        parts = another.submit(prepare, folder, recordings, n_parts, profile, made).result()
    joined = folder if n_parts == recordings else folder / "joined"
    joined.mkdir(exist_ok=True)
    with told("joining", parts=n_parts):
        summary = join_parts(joined, parts, made, profile)
    if len(summary) != n_parts or summary["events"].sum() != 2 * n_parts:
        raise RuntimeError(f"bench: {n_parts} parts went in, {len(summary)} recordings with {summary['events'].sum()} events came out")
    with told("reading for the report", recordings=recordings):
        report = Report(folder, sites={"6872": "north", "5725": "south"}, time_zone="America/Toronto", position=(48.25, -69.95))
    for section in SECTIONS:
        with told(section):
            getattr(report, section)()


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.season", description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--parts", type=int, help="how many of them are joined (default: all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place), options.recordings, min(options.parts or options.recordings, options.recordings))


if __name__ == "__main__":
    main()
