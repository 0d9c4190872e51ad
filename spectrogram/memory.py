"""What the C library does with memory that is freed."""
from __future__ import annotations

import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT_BYTES = 256 << 20


def keep_freed_memory() -> None:
    """Have the C library keep the blocks of some megabytes that a chunk frees for the next chunk.

    Left alone it learns to do so within a minute of sound or two, but gives back what lies at the end of its heap; and `dask worker` starts its processes with
    MALLOC_TRIM_THRESHOLD_=65536: every block goes back to the system and comes anew, which costs as much again as the work (0.5 million page faults and 2 s
    in 10 minutes of 192 kHz sound). Elsewhere than on Linux nothing is to do.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError, OSError):  # another C library than GNU's
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, 32 << 20)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
