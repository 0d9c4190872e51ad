"""A folder that is watched for long, with faults drawn at random: nothing lost, nothing doubled,
no half file called `ok`?

    python -m bench.soak [--minutes 30] [--seed 1] [--workers 2]

A recorder writes recordings as recorders and copies do: at once, slowly, with its header last,
with stalls; it starts again under the same name, moves files, deletes some,
sets their clocks back and forth, and leaves files that are no sound. Meanwhile the watching run is
killed, interrupted and started again, and its disk fills up and gets room
(where a small disk may be mounted). The tables are looked at all the time, and at the end
compared, row for row, with those of an undisturbed run. Prints one line of
JSON; the exit code is 1 where anything was wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ, SETTLE_S, DISK_MB = 48_000, 1.0, 200
PATIENCE_S = 45.0  # until what never becomes whole is taken up
KILL_AFTER_S = (5, 30)  # since a run has begun to watch ...
EARLY, START_S = 0.15, 10.0  # ... but for this share of them: at any moment of their first seconds
END_S = 240.0  # until all must be done at the end


class Recorder(threading.Thread):
    """Writes recordings into a folder until it is stopped.

    lengths : name -> seconds of every whole recording that ever had the name. deleted, moved :
        names that were taken away.
    """

    ACTIONS = {
        "at once": 5,
        "slowly": 5,
        "header last": 3,
        "flac that stalls": 4,
        "again": 2,
        "moved": 2,
        "deleted": 1,
        "clock jumps": 3,
        "no sound": 1,
        "empty": 1,
    }

    def __init__(self, folder, seed):
        super().__init__(daemon=True)
        self.folder, self.chance, self.rng, self.stopped = (
            folder,
            random.Random(seed),
            np.random.default_rng(seed),
            threading.Event(),
        )
        self.lengths, self.counts, self.deleted, self.moved, self.errors = (
            {},
            Counter(),
            set(),
            set(),
            [],
        )
        self.writing, self.busy, self.n, self.lock = [], set(), 0, threading.Lock()

    def run(self):
        while not self.stopped.wait(self.chance.uniform(0.2, 3.0)):
            action = self.chance.choices(list(self.ACTIONS), self.ACTIONS.values())[0]
            thread = threading.Thread(target=self._do, args=(action,), daemon=True)
            thread.start()
            self.writing = [t for t in self.writing if t.is_alive()] + [thread]
        for thread in self.writing:
            thread.join()

    def _do(self, action):
        try:
            with self.lock:
                there = [
                    path
                    for path in self.folder.rglob("*")
                    if path.is_file()
                    and self.name(path) in self.lengths
                    and self.name(path) not in self.busy
                ]
                path = self.chance.choice(there) if there else None
                if action in ("again", "moved", "deleted", "clock jumps"):
                    if path is None:
                        return
                else:
                    self.n += 1
                    start = datetime(2022, 7, 16) + timedelta(minutes=self.n)
                    path = (
                        self.folder
                        / f"6872.{start:%y%m%d%H%M%S}.{'flac' if action.startswith('flac') else 'wav'}"
                    )
                self.busy.add(self.name(path))
            self.counts[action] += 1
            try:
                getattr(self, "_" + action.replace(" ", "_"))(path)
            finally:
                self.busy.discard(self.name(path))
        except Exception as error:
            self.errors.append(f"{action}: {type(error).__name__}: {error}")

    busy: set = set()

    def name(self, path):
        return path.relative_to(self.folder).as_posix()

    def _sound(self, path, seconds=None):
        """The bytes of a new recording, and note its length."""
        seconds = seconds or self.chance.randint(2, 12)
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / path.name
            t = np.arange(seconds * RATE_HZ) / RATE_HZ
            whistle = (
                0.02
                * np.sin(2 * np.pi * (6000 + 1500 * np.sin(2 * np.pi * t / 2)) * t)
                * ((t % 2) < 0.7)
            )
            soundfile.write(
                out, 0.001 * self.rng.standard_normal(len(t)) + whistle, RATE_HZ, subtype="PCM_16"
            )
            data = out.read_bytes()
        self.lengths.setdefault(self.name(path), set()).add(float(seconds))
        return data

    def _at_once(self, path):
        aside = self.folder.parent / f"aside-{path.name}"
        aside.write_bytes(self._sound(path))
        os.rename(aside, path)

    def _in_pieces(self, path, data, pauses):
        with open(path, "wb") as file:
            for k in range(pauses + 1):
                file.write(
                    data[len(data) * k // (pauses + 1) : len(data) * (k + 1) // (pauses + 1)]
                )
                file.flush()
                if k < pauses:
                    time.sleep(self.chance.choice([0.2, 0.5, 2.5 * SETTLE_S]))

    def _slowly(self, path):
        self._in_pieces(path, self._sound(path), self.chance.randint(1, 6))

    def _header_last(self, path):
        data = self._sound(path)
        self._in_pieces(
            path, data[:4] + bytes(4) + data[8:40] + bytes(4) + data[44:], self.chance.randint(1, 4)
        )
        with open(path, "r+b") as file:
            file.write(data[:44])

    _flac_that_stalls = _again = _slowly

    def _moved(self, path):
        target = path.parent / f"card{self.chance.randint(1, 3)}" / path.name
        target.parent.mkdir(exist_ok=True)
        self.lengths.setdefault(self.name(target), set()).update(self.lengths[self.name(path)])
        self.moved.add(self.name(path))
        path.rename(target)

    def _deleted(self, path):
        self.deleted.add(self.name(path))
        path.unlink()

    def _clock_jumps(self, path):
        os.utime(path, ns=(1, self.chance.randrange(10**18, 2 * 10**18)))

    def _no_sound(self, path):
        path.write_bytes(b"no sound" * 500)

    def _empty(self, path):
        path.touch()


class Disturber:
    """Starts the watching run, kills it, fills its disk."""

    def __init__(self, source, out, log, workers, seed, mounted):
        self.command = [
            sys.executable,
            "-m",
            "pipeline",
            source,
            out,
            "--watch",
            "--settle-s",
            str(SETTLE_S),
            "--workers",
            str(workers),
            "--quiet",
            "--log",
            log,
        ]
        self.chance, self.counts, self.codes, self.process = (
            random.Random(seed + 1),
            Counter(),
            Counter(),
            None,
        )
        self.ballast, self.mounted, self.full_until = out.parent / "ballast", mounted, 0.0
        self.log, self.starts, self.end_at = log, 0, None
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
        if self.process.poll() is not None:
            self.start()


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


def soak(place, minutes, seed, workers):
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
        Disturber(source, out, place / "log.txt", workers, seed, mounted),
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
            if disturber.process.poll() is not None:
                disturber.calm()
            if looker.look() is not None:
                calm_since = time.monotonic()
            if there <= looker.seen and time.monotonic() - calm_since > PATIENCE_S:
                break
            time.sleep(0.2)
        disturber.end(signal.SIGINT)
        looker.look()
        wrong, recordings, gone, events = compare(source, out, place / "fresh", recorder)
        litter = [path.name for path in out.rglob("*") if path.name.endswith((".tmp", ".lock"))]
    finally:
        disturber.process.kill()
        disturber.process.wait()
        if mounted:
            subprocess.run(["umount", disk], check=False)
    wrong += looker.wrong + recorder.errors + [f"litter: {name}" for name in litter]
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": seed,
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        result = soak(Path(place), options.minutes, options.seed, options.workers)
    print(json.dumps(result))
    return bool(result["wrong"])


if __name__ == "__main__":
    sys.exit(main())
