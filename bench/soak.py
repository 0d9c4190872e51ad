"""A folder that is watched for long, with faults drawn at random: nothing lost, nothing doubled,
no half file called `ok`?

    python -m bench.soak [--minutes 30] [--seed 1] [--workers 2] [--watchers 2]

A recorder (`bench.recorder`) writes recordings as recorders and copies do. Meanwhile several runs,
the first with `--workers`, the others with one, watch the folder and write into one output; each is
killed, interrupted and started again, and their disk fills up and gets room (where a small disk may
be mounted). The tables are looked at all the time, and at the end
compared, row for row, with those of an undisturbed run. Prints one line of
JSON; the exit code is 1 where anything was wrong.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from bench.recorder import Recorder

ROOT = Path(__file__).resolve().parents[1]
SETTLE_S, DISK_MB = 1.0, 200
PATIENCE_S = 45.0  # until what never becomes whole is taken up
KILL_AFTER_S = (5, 30)  # since a run has begun to watch ...
EARLY, START_S = 0.15, 10.0  # ... but for this share of them: at any moment of their first seconds
END_S = 240.0  # until all must be done at the end


class Watcher:
    """Starts a watching run, ends it at random moments, and starts it again.

    counts, codes : of how it ended; shared by all.
    """

    def __init__(self, source, out, log, workers, chance, counts, codes):
        self.command = [
            *(sys.executable, "-m", "pipeline", source, out, "--watch", "--settle-s", SETTLE_S),
            *("--workers", workers, "--quiet", "--log", log),
        ]
        self.log, self.chance, self.counts, self.codes = log, chance, counts, codes
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [str(word) for word in self.command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.starts, self.end_at = (
            self.watching(),
            time.monotonic() + self.chance.uniform(0, START_S)
            if self.chance.random() < EARLY
            else None,
        )

    def watching(self):
        """How many runs have begun to watch."""
        return self.log.read_text(encoding="utf-8").count(" watching ") if self.log.exists() else 0

    def end(self, how):
        self.counts[how.name] += 1
        self.process.send_signal(how)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.counts["did not end"] += 1
            self.process.kill()
            self.process.wait()
        self.codes[f"{how.name} {self.process.returncode}"] += 1

    def step(self):
        now = time.monotonic()
        if self.process.poll() is not None:
            self.counts["ended by itself"] += 1
            self.codes[f"itself {self.process.returncode}"] += 1
            self.start()
        elif self.end_at is None:
            if self.watching() > self.starts:
                self.end_at = now + self.chance.uniform(*KILL_AFTER_S)
        elif now > self.end_at:
            self.end(
                self.chance.choices([signal.SIGKILL, signal.SIGINT, signal.SIGTERM], [4, 1, 1])[0]
            )
            self.start()

    def calm(self):
        """Only see that it is at work."""
        if self.process.poll() is not None:
            self.start()


class Disturber:
    """Disturbs the watching runs, and fills their disk."""

    def __init__(self, source, out, log, workers, watchers, seed, mounted):
        self.chance, self.counts, self.codes = random.Random(seed + 1), Counter(), Counter()
        self.ballast, self.mounted, self.full_until = out.parent / "ballast", mounted, 0.0
        shared = self.chance, self.counts, self.codes
        self.watchers = [
            Watcher(source, out, log / f"{k}.txt", 1 if k else workers, *shared)
            for k in range(watchers)
        ]

    def step(self):
        for watcher in self.watchers:
            watcher.step()
        now = time.monotonic()
        if self.mounted and self.full_until and now > self.full_until:
            self.ballast.unlink(missing_ok=True)
            self.full_until = 0.0
        elif self.mounted and not self.full_until and self.chance.random() < 0.01:
            self.counts["full disk"] += 1
            self.full_until = now + self.chance.uniform(2, 10)
            try:
                with open(self.ballast, "wb", buffering=0) as file:
                    while file.write(bytes(1 << 16)):
                        pass
            except OSError:
                pass

    def calm(self):
        self.ballast.unlink(missing_ok=True)
        for watcher in self.watchers:
            watcher.calm()


class Looker:
    """Looks at the tables all the time."""

    def __init__(self, out, recorder):
        self.path, self.recorder, self.seen, self.wrong, self.looks, self.changed = (
            out / "effort.parquet",
            recorder,
            set(),
            [],
            0,
            0,
        )

    def look(self):
        """The effort now; notes what is wrong with it."""
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed == self.changed:
            return None
        effort = pd.read_parquet(self.path)
        self.looks, self.changed = self.looks + 1, changed
        names = effort["recording"].tolist()
        gone = self.seen - set(names) - self.recorder.moved
        doubled = [name for name, times in Counter(names).items() if times > 1]
        half = [
            f"{row.recording} {row.duration_s}"
            for row in effort.itertuples()
            if row.status == "ok"
            and row.duration_s not in self.recorder.lengths.get(row.recording, ())
        ]
        self.wrong += (
            [f"lost {name}" for name in gone]
            + [f"doubled {name}" for name in doubled]
            + [f"half a file is ok: {row}" for row in half]
        )
        self.seen |= set(names)
        return effort


def compare(source, out, fresh, recorder):
    """What differs from an undisturbed run over what is there at the end."""
    from pipeline import run_multi_file_pipeline
    from pipeline.tables import TABLES

    run_multi_file_pipeline(source, fresh, workers=1, progress=False)
    wrong, effort = [], pd.read_parquet(out / "effort.parquet")
    gone = set(effort.loc[effort["status"] == "gone", "recording"])
    if gone - recorder.deleted - recorder.moved:
        wrong.append(f"gone, but there: {sorted(gone - recorder.deleted - recorder.moved)}")
    for table in TABLES:
        a, b = (
            pd.read_parquet(x / f"{table}.parquet").drop(
                columns=["gap_before_s", "reason"], errors="ignore"
            )
            for x in (out, fresh)
        )
        try:
            pd.testing.assert_frame_equal(
                a[~a["recording"].isin(gone)].reset_index(drop=True),
                b.reset_index(drop=True),
                check_exact=True,
            )
        except AssertionError as error:
            wrong.append(
                f"{table}: {len(a)} rows with {len(gone)} gone recordings, undisturbed {len(b)}: {str(error)[:300]}"
            )
    return wrong, len(effort), len(gone), len(pd.read_parquet(out / "events.parquet"))


def soak(place, minutes, seed, workers, watchers):
    source, disk = place / "in", place / "disk"
    source.mkdir()
    disk.mkdir()
    mounted = (
        sys.platform.startswith("linux")
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", disk], capture_output=True
        ).returncode
        == 0
    )
    out, began = disk / "out", time.monotonic()
    recorder = Recorder(source, seed)
    disturber, looker = (
        Disturber(source, out, place, workers, watchers, seed, mounted),
        Looker(out, recorder),
    )
    try:
        recorder.start()
        while time.monotonic() < began + 60 * minutes:
            disturber.step()
            looker.look()
            time.sleep(0.1)
        recorder.stopped.set()
        recorder.join()
        disturber.calm()
        until, there = (
            time.monotonic() + END_S,
            {recorder.name(path) for path in source.rglob("*") if path.is_file()},
        )
        calm_since = time.monotonic()
        while time.monotonic() < until:
            disturber.calm()
            if looker.look() is not None:
                calm_since = time.monotonic()
            if there <= looker.seen and time.monotonic() - calm_since > PATIENCE_S:
                break
            time.sleep(0.2)
        for watcher in disturber.watchers:
            watcher.end(signal.SIGINT)
        looker.look()
        wrong, recordings, gone, events = compare(source, out, place / "fresh", recorder)
        litter = [path.name for path in out.rglob("*") if path.name.endswith((".tmp", ".lock", ".claim"))]
    finally:
        for watcher in disturber.watchers:
            watcher.process.kill()
            watcher.process.wait()
        if mounted:
            subprocess.run(["umount", disk], check=False)
    if disturber.counts["did not end"]:
        wrong.append(f"{disturber.counts['did not end']} runs did not end when they were told to")
    wrong += looker.wrong + recorder.errors + [f"litter: {name}" for name in litter]
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": seed,
        "watchers": watchers,
        "recordings": recordings,
        "gone": gone,
        "events": events,
        "written": dict(recorder.counts),
        "disturbed": dict(disturber.counts),
        "exit_codes": dict(disturber.codes),
        "disk": "filled up" if mounted else "could not be mounted",
        "tables_seen": looker.looks,
        "wrong": wrong,
    }


def main():
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--watchers", type=int, default=2, help="runs that write into one output")
    options = parser.parse_args()
    # A shell that starts us in the background has Ctrl-C ignored, by those that we start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as place:
        result = soak(Path(place), options.minutes, options.seed, options.workers, options.watchers)
    print(json.dumps(result))
    return bool(result["wrong"])


if __name__ == "__main__":
    sys.exit(main())
