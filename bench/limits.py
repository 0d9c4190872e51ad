"""Where the limits lie: many small recordings, long ones, many channels, high rates, bad input.

    python -m bench.limits [--long]

Simulates a recording, makes of it the cases below, and works on each in a process of its own with
the shipped model. Prints a line of JSON for each: seconds of sound and of
work, the cost of a recording in milliseconds, the largest memory of the process (10^6 bytes) and
how much of it the case took beyond its start. With `--long` the cases have
their full size: 5,000 recordings of 2 s, and as many of which every other is spoilt; 12 hours at
192 kHz (17 GB of disk); ten minutes of 16 channels at 192 kHz (4 GB), and at 576 kHz. Else a tenth
of it, or less. A case fails where a recording has another status than it must have.
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
BAD = "bad input"
CASES = {
    "many small": (1, (500, 2, 1, 192_000), (5000, 2, 1, 192_000)),
    "many small, two workers": (2, (500, 2, 1, 192_000), (5000, 2, 1, 192_000)),
    BAD: (1, (500, 2, 1, 192_000), (5000, 2, 1, 192_000)),
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


def spoil(folder):
    """Spoil every other recording, in turn in each way of `WAYS`; each then lies in a folder that
    is called after the status that it must have."""
    for k, path in enumerate(sorted(folder.iterdir())[::2]):
        way, status = list(WAYS.items())[k % len(WAYS)]
        (folder / status).mkdir(exist_ok=True)
        path = path.rename(folder / status / path.name)
        way(path)


def _samples(path, change, subtype="PCM_16", rate_hz=None):
    samples, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, change(samples), rate_hz or rate, subtype=subtype)


def _bytes(path, change):
    path.write_bytes(change(bytearray(path.read_bytes())))


def _empty(path):
    _bytes(path, lambda data: b"")


def _text(path):
    path.write_text("calm sea\n" * 99, encoding="utf-8")


def _rate_that_no_recorder_has(path):
    _bytes(path, lambda data: data[:24] + b"\xff\xff\xff\x7f" * 2 + data[32:])


def _cut_short(path):
    _bytes(path, lambda data: data[: len(data) // 2])


def _not_numbers(path):
    _samples(path, lambda x: np.where(np.arange(len(x)) % 1000, x, np.nan), "FLOAT")


def _silent(path):
    _samples(path, np.zeros_like)


def _clipped(path):
    _samples(path, lambda x: np.clip(1000 * x, -1, 1))


def _too_low_a_rate(path):
    _samples(path, lambda x: x[:4000], rate_hz=2000)


def _without_a_time(path):
    path.rename(path.with_name(f"survey {int(path.stem.replace('.', '')):x}.wav"))


WAYS = {
    _empty: "failed",
    _text: "failed",
    _rate_that_no_recorder_has: "failed",
    _cut_short: "partial",
    _not_numbers: "partial",
    _silent: "ok",
    _clipped: "ok",
    _too_low_a_rate: "ok",
    _without_a_time: "ok",
}


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
    files = [path for path in folder.rglob("*") if path.is_file()]
    wrong = [
        f"{row.recording} is {row.status} ({row.reason})"
        for row in summary.itertuples()
        if row.status != (row.recording.rpartition("/")[0] or "ok")
    ]
    if wrong or len(files) != summary["recording"].nunique():
        raise RuntimeError(f"bench: {len(summary)} rows of {len(files)} recordings; {wrong[:3]}")
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
                if case == BAD:
                    spoil(folder)
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
