"""Settings for all tests: figures are drawn without a screen, and numerical libraries count on one thread, here and in every kernel and process that a test starts.

Two threads on arrays this small mostly wait for each other, the more so where other tests run beside (`make test`: as many workers as there are cores).

What a user's `.env` or shell sets changes nothing of what tests, and the processes that they start, see; only where the real recordings lie is taken from there.
"""
import os
from pathlib import Path

import pytest
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent

WORKER_BYTES = 2.5e9  # of memory, for each worker and the kernels and processes that its tests start

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"))  # before numpy and torch are imported
if (data := dotenv_values(ROOT / ".env").get("SEA_CANARY_DATA")) and "SEA_CANARY_DATA" not in os.environ:
    os.environ["SEA_CANARY_DATA"] = data
for name in {*dotenv_values(ROOT / ".env"), *dotenv_values(ROOT / ".env.example")} - {"SEA_CANARY_DATA"}:
    os.environ.pop(name, None)
os.environ["PYTHON_DOTENV_DISABLED"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """What `-n auto` means: as many as there are cores for us and room in memory."""
    import psutil

    from pipeline.local_workers import cores

    return max(1, min(cores(), int(psutil.virtual_memory().available // WORKER_BYTES)))
