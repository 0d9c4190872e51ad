"""Where the limits lie: many small recordings, long ones, many channels, high rates.

    python -m bench.limits [--long]

Simulates a recording, makes of it the cases below, and works on each in a process of its own with
the shipped model. Prints a line of JSON for each: seconds of sound and of
work, the cost of a recording in milliseconds, the largest memory of the process (10^6 bytes) and
how much of it the case took beyond its start. With `--long` the cases have
their full size: 5,000 recordings of 2 s; 12 hours at 192 kHz (17 GB of disk); ten minutes of 16
channels at 192 kHz (4 GB), and at 576 kHz. Else a tenth of it, or less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from bench.recordings import simulate
from bench.stages import peak_mb

SECONDS = 60.0  # that are simulated, and repeated
BLOCK = 1 << 19
# name: (workers, (recordings, seconds of each, channels, sample rate), the same with --long)
CASES = {
    "many small": (1, (500, 2, 1, 192_000), (5000, 2, 1, 192_000)),
    "many small, two workers": (2, (500, 2, 1, 192_000), (5000, 2, 1, 192_000)),
    "16 channels": (1, (1, 60, 16, 192_000), (1, 600, 16, 192_000)),
    "576 kHz": (1, (1, 60, 1, 576_000), (1, 600, 1, 576_000)),
    "long": (1, (1, 1800, 1, 192_000), (1, 12 * 3600, 1, 192_000)),
}


def make(folder, sound, recordings, seconds, channels, rate_hz):
    """Write a case's recordings: the simulated sound, repeated, on every channel; at another rate
    it is only played at another speed."""
    folder.mkdir()
    begin, samples = 0, np.ascontiguousarray(np.repeat(sound[:, None], channels, axis=1))
    for k in range(recordings):
        name = f"6872.{datetime(2022, 7, 16) + timedelta(minutes=k):%y%m%d%H%M%S}.wav"
        with soundfile.SoundFile(
            folder / name,
            "w",
            rate_hz,
            channels,
            "PCM_16",
            format="RF64" if seconds * rate_hz * channels * 2 > 4e9 else "WAV",
        ) as file:
            left = seconds * rate_hz
            while left > 0:
                block = samples[begin : begin + min(BLOCK, left)]
                file.write(block)
                left, begin = left - len(block), (begin + len(block)) % len(samples)
    return folder


def measure(folder, workers):
    """Work on a case in this process, or with workers: then the memory is that of the process that
    gives out the work."""
    from pipeline import run_multi_file_pipeline
    from pipeline.single import load

    load()
    start_mb, begin = peak_mb(), time.perf_counter()
    summary = run_multi_file_pipeline(
        folder, folder.parent / "out", workers=workers, split_s=float("inf"), progress=False
    )
    seconds, sound_s = time.perf_counter() - begin, float(summary["duration_s"].sum())
    if (summary["status"] != "ok").any():
        raise RuntimeError(f"bench: {summary['reason'][summary['status'] != 'ok'].iloc[0]}")
    return {
        "recordings": len(summary),
        "sound_s": sound_s,
        "seconds": round(seconds, 2),
        "times_real_time": round(sound_s / seconds),
        "ms_each": round(1000 * seconds / len(summary), 1),
        "peak_mb": round(peak_mb()),
        "more_mb": round(peak_mb() - start_mb),
    }


def measured(cases=tuple(CASES), full=False):
    """Make and measure cases, each in a process of its own; yields what `measure` tells, with the
    case's name."""
    with tempfile.TemporaryDirectory() as place:
        sound, _ = soundfile.read(simulate(Path(place) / "simulated", SECONDS), dtype="int16")
        for case in cases:
            with tempfile.TemporaryDirectory(dir=place) as room:
                workers, *sizes = CASES[case]
                folder = make(Path(room) / "in", sound, *sizes[full])
                command = [
                    sys.executable,
                    "-m",
                    "bench.limits",
                    "--measure",
                    folder,
                    "--workers",
                    str(workers),
                ]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                yield {"case": case} | json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(
        prog="python -m bench.limits", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--long", action="store_true", help="full sizes: an hour of work and 25 GB of disk"
    )
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure), options.workers)))
        return
    for result in measured([options.only] if options.only else CASES, options.long):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
