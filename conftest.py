"""Settings for all tests: figures are drawn without a screen, and numerical libraries count on one thread, here and in every kernel and process that a test starts.

Two threads on arrays this small mostly wait for each other, the more so where other tests run beside (`make test`: as many workers as there are cores).
"""
import os

import pytest

WORKER_BYTES = 2.5e9  # of memory, for each worker and the kernels and processes that its tests start

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"))  # before numpy and torch are imported


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """What `-n auto` means: as many as there are cores for us and room in memory."""
    import psutil

    from pipeline.local_workers import cores

    return max(1, min(cores(), int(psutil.virtual_memory().available // WORKER_BYTES)))
