"""A recorder for the soak: it writes recordings into a folder as recorders and copies do.

At once, slowly, with the header last, with stalls; again under the same name; it moves files,
deletes some, sets their clocks back and forth, and leaves files that are no sound.
"""

import os
import random
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 48_000
STALL_S = 2.5  # the longest: longer than a file must have rested


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
                    time.sleep(self.chance.choice([0.2, 0.5, STALL_S]))

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
