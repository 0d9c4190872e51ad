"""SIGKILL at random moments while several workers are at work, recordings split or not: nothing
lost, nothing done twice, nothing left running."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from pipeline import run_multi_file_pipeline
from pipeline.tables import TABLES
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

ROOT = Path(__file__).resolve().parents[1]
SHORT, LONG = 10, 3
RUN = """
import sys
from pipeline import run_multi_file_pipeline
from tests.toy_model import ToyModel

split_s = float(sys.argv[4]) if sys.argv[4] != "None" else None
run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), workers=int(sys.argv[3]), split_s=split_s, progress=False)
"""


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Short and long recordings, one of no bytes, and the tables of an undisturbed run."""
    folder = tmp_path_factory.mktemp("kills")
    for k in range(SHORT + LONG):
        write(
            folder / "in" / f"6872.220716{k:02d}0000.wav",
            scene(7 if k < SHORT else 68, 8000, k),
            8000,
        )
    (folder / "in" / "bad.wav").write_bytes(b"")
    run_multi_file_pipeline(folder / "in", folder / "whole", ToyModel(), workers=1, progress=False)
    return folder


def written(out):
    """Parts and stretches that are done: name -> when it was written."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in (out / "parts").rglob("*.zip")
        if path.is_file()
    }


@pytest.mark.parametrize("workers, split_s", [(2, None), (4, 16)])
def test_killed_at_random_moments_with_several_workers(workers, split_s, season, tmp_path):
    chance, kills = (
        random.Random(os.environ.get("SEA_CANARY_SEED", f"{workers}")),
        int(os.environ.get("SEA_CANARY_KILLS", "1")),
    )
    out, done, killed, orphans = tmp_path / "out", {}, 0, []
    command = [sys.executable, "-c", RUN, season / "in", out, str(workers), str(split_s)]
    for _ in range(kills):
        process = subprocess.Popen(command, cwd=ROOT)
        wanted = len(done) + chance.choice([1, 2, 3])
        while process.poll() is None:
            try:
                if len(written(out)) >= wanted:
                    break
            except OSError:  # a stretch that has just been joined
                pass
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        if process.poll() is None:
            orphans += psutil.Process(process.pid).children(recursive=True)
            killed += 1
        process.kill()
        process.wait()
        now = written(out)
        parts = {name: when for name, when in done.items() if "stretch" not in name}
        assert parts.items() <= now.items()  # none lost, none written again
        done = now
    assert killed
    run_multi_file_pipeline(
        season / "in", out, ToyModel(), workers=1, split_s=split_s, progress=False
    )
    assert {name: when for name, when in done.items() if "stretch" not in name}.items() <= written(
        out
    ).items()
    for table in TABLES:
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(x / f"{table}.parquet") for x in (out, season / "whole")),
            check_exact=True,
            obj=table,
        )
    assert (
        not list(out.rglob("*.tmp"))
        and not list(out.rglob("*.lock"))
        and not (out / "parts" / "stretches").exists()
    )
    assert not psutil.wait_procs(orphans, timeout=40)[
        1
    ]  # workers end with the run that started them
