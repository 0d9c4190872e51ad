"""How much two workers with a core each do against one such worker, and how much two cores of this machine do at best.

    python -m bench.archive RECORDING COPIES WORKERS [--apart]

links `COPIES` copies of a recording into a folder, starts `WORKERS` worker processes as `run_multi_file_pipeline` does, with as many cores, lets them
warm up, and prints one line of JSON: seconds for all copies, their seconds of sound, start_s until the workers were ready, the largest memory of a
worker (10^6 bytes), and for the estimate (`bench.estimate`): asking_s, what the process that gives out the work and writes the parts computes for each
recording; bytes of a part; joining_s for each part.

With `--apart` the workers are programs that know nothing of each other, with their share of the copies each: no claims, no parts, no joining. Cores
share memory, caches and heat, so two do less than twice the work of one: this is the ceiling that an archive can come near.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.recordings import fill
from bench.stages import peak_mb

WARM_S, MANY, JOINED = 20.0, 24, 300  # seconds of a short recording, many of them, parts that are joined


def spread(path, folder, names):
    """The recording under several names: hard links where the disk has them, else copies."""
    import shutil

    folder.mkdir(parents=True)
    for name in names:
        try:
            os.link(path, folder / name)
        except OSError:
            shutil.copy2(path, folder / name)
    return folder


def names(count, day):
    """SoundTrap names of recordings that begin an hour apart."""
    return [f"6872.2207{day + hour // 24:02d}{hour % 24:02d}0000.wav" for hour in range(count)]


def confine(pid, n):
    """Keep a process, with its threads and those they will start, on the first n of our cores, where the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:n]
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), cores)


# ------------------------------------------------------------------------------------------------------------ an archive


def measure(path, copies, workers):
    """Work `copies` of the recording with so many workers."""
    import soundfile
    from dask.distributed import Client

    from pipeline import run_multi_file_pipeline
    from pipeline.local_workers import LocalWorkers

    with tempfile.TemporaryDirectory(dir=Path(path).parent) as place:
        place, begin = Path(place), time.perf_counter()
        short = fill(path, place / "short.wav", WARM_S)
        started = LocalWorkers(workers, 1)
        try:
            with Client(started.address, security=started.security, set_as_default=False) as client:
                client.wait_for_workers(workers)
                for process in started.processes:
                    confine(process.pid, workers)
                run_multi_file_pipeline(spread(short, place / "warm", names(4 * workers, 1)), place / "warmed", scheduler=client, progress=False)
                start_s, begin_cpu = time.perf_counter() - begin, time.process_time()
                run_multi_file_pipeline(spread(short, place / "many", names(MANY, 1)), place / "asked", scheduler=client, progress=False)
                asking_s, folder = (time.process_time() - begin_cpu) / MANY, spread(path, place / "in", names(copies, 2))
                begin = time.perf_counter()
                summary = run_multi_file_pipeline(folder, place / "out", scheduler=client, progress=False)
                seconds = time.perf_counter() - begin
                peak = max(client.run(peak_mb).values())
        finally:
            started.close()
        if len(summary) != copies or (summary["status"] != "ok").any():
            raise RuntimeError(f"bench: of {copies} recordings only {(summary['status'] == 'ok').sum()} came out whole")
        return {"seconds": [seconds], "sound_s": copies * soundfile.info(path).duration, "start_s": start_s, "asking_s": asking_s, "peak_mb": peak,
                **joining(place / "out")}


def joining(out):
    """part_bytes, joining_s of each: the parts of a run, over and over until they are JOINED, joined into tables."""
    from pipeline.join import join_parts
    from pipeline.parts import read_footer
    from spectrogram.profile import load_profile

    mine = [(path, read_footer(path)["fingerprint"]) for path in sorted((out / "parts").glob("*.zip"))]
    parts = (mine * JOINED)[:JOINED]
    (out / "again").mkdir()
    begin = time.perf_counter()
    join_parts(out / "again", parts, {}, load_profile(read_footer(mine[0][0])["profile"]))
    return {"part_bytes": sum(path.stat().st_size for path, _ in mine) / len(mine), "joining_s": (time.perf_counter() - begin) / JOINED}


# ------------------------------------------------------------------------------------------------------------ the ceiling


def measure_apart(path, copies, workers):
    """Work `copies` of the recording with so many programs that know nothing of each other."""
    import soundfile

    with tempfile.TemporaryDirectory(dir=Path(path).parent) as place:
        short, each = fill(path, Path(place) / "short.wav", WARM_S), copies // workers
        command = [sys.executable, "-m", "bench.archive", path, str(each), "0", "--warm", str(short)]
        programs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
        try:
            for program in programs:
                confine(program.pid, workers)
            ready = [program.stdout.readline() for program in programs]
            begin = time.perf_counter()
            for program in programs:
                program.stdin.write("go\n")
                program.stdin.flush()
            peaks = [float(program.stdout.readline() or "nan") for program in programs]
            seconds = time.perf_counter() - begin
        finally:
            for program in programs:
                program.kill()
                program.communicate()
        if not all(ready) or any(peak != peak for peak in peaks):
            raise RuntimeError("bench: a program ended before its recordings were done; its own words stand above")
    return {"seconds": [seconds], "sound_s": each * workers * soundfile.info(path).duration, "peak_mb": max(peaks)}


def alone(path, copies, short):
    """One of those programs: warm up, wait for a line, work, tell the peak memory."""
    from pipeline import run_pipeline_single_audio
    from pipeline.single import load

    model = load()
    run_pipeline_single_audio(short, model, workers=1)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(copies):
        with tempfile.TemporaryDirectory() as folder:
            run_pipeline_single_audio(path, model, workers=1).save(folder)
    print(peak_mb(), flush=True)


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.archive", description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("copies", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument("--apart", action="store_true", help="the ceiling: programs that know nothing of each other")
    parser.add_argument("--warm", help=argparse.SUPPRESS)  # one of those programs
    options = parser.parse_args()
    if options.warm:
        alone(options.recording, options.copies, options.warm)
    else:
        print(json.dumps((measure_apart if options.apart else measure)(options.recording, options.copies, options.workers)))


if __name__ == "__main__":
    main()
