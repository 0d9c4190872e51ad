"""One thread per numerical call: we share the work among our own threads, and libraries that split tiny products among
threads of theirs only get in each other's way (fifty-fold slower on a busy machine)."""
from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache


@lru_cache(maxsize=1)
def _controller():
    import numpy  # noqa: F401  (its BLAS must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_thread_per_call():
    """Within, BLAS and torch use one thread for each call, in every thread of this process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
