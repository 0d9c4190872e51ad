"""How much sooner two workers with a core each have one long recording than one of them alone, and whether the tables are the same.

    python -m bench.split RECORDING [--repeats 3]

Starts the workers as `run_multi_file_pipeline` does and lets them warm up. Then, in turns, one works on the whole recording, and two on its halves
(at most 11 minutes each). Prints one line of JSON, a number for each turn: whole_s and split_s, seconds; whole_cpu_s, split_cpu_s, what of them the busiest worker
computes, which tells also on a machine that has other work; joining_cpu_s, what the process that gives out the work computes more when it joins; and the largest memory of a
worker and of this process (10^6 bytes).
"""
import argparse
import json
import tempfile
import time
from pathlib import Path

import pandas as pd
import soundfile

from bench.archive import WARM_S, confine, names, spread
from bench.recordings import fill
from bench.stages import peak_mb


def measure(path, repeats):
    from dask.distributed import Client

    from pipeline import run_multi_file_pipeline
    from pipeline.local_workers import LocalWorkers
    from pipeline.tables import TABLES

    half_s = -(-soundfile.info(path).duration // 32) * 16
    times = {"whole_s": [], "split_s": [], "whole_cpu_s": [], "split_cpu_s": [], "joining_cpu_s": []}
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as place:
        place = Path(place)
        short, folder = fill(path, place / "short.wav", WARM_S), spread(path, place / "in", names(1, 2))

        def timed(client, out, split_s):
            before, begin, begin_cpu = client.run(time.process_time), time.perf_counter(), time.process_time()
            run_multi_file_pipeline(folder, place / out, scheduler=client, progress=False, split_s=split_s)
            seconds, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
            return seconds, max(after - before[worker] for worker, after in client.run(time.process_time).items()), cpu_s

        started = {n: LocalWorkers(n, 1) for n in (1, 2)}
        try:
            with Client(started[1].address, security=started[1].security, set_as_default=False) as one, Client(started[2].address, security=started[2].security, set_as_default=False) as two:
                for n, client in ((1, one), (2, two)):
                    client.wait_for_workers(n)
                    for process in started[n].processes:
                        confine(process.pid, n)
                    run_multi_file_pipeline(spread(short, place / f"warm{n}", names(4 * n, 1)), place / f"warmed{n}", scheduler=client, progress=False)
                for k in range(repeats):
                    whole, split = timed(one, f"whole{k}", float("inf")), timed(two, f"split{k}", half_s)
                    for name, seconds in zip(times, (whole[0], split[0], whole[1], split[1], split[2] - whole[2])):
                        times[name].append(round(seconds, 2))
                peak = max(max(client.run(peak_mb).values()) for client in (one, two))
        finally:
            for workers in started.values():
                workers.close()
        for table in TABLES:
            pd.testing.assert_frame_equal(*(pd.read_parquet(place / f"{how}0" / f"{table}.parquet") for how in ("whole", "split")), check_exact=True, obj=table)
    return times | {"sound_s": soundfile.info(path).duration, "peak_mb": round(peak), "here_mb": round(peak_mb())}


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.split", description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.recording, options.repeats)))


if __name__ == "__main__":
    main()
