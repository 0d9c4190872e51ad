"""A limit on the time that one recording may take: nothing waits for ever on one entry.

A header may lead round in a circle, a disk or a network drive may never answer, a server may send a byte a minute. So
a recording is worked on in a thread of its own; when its time is up, the thread is told to stop and is no longer waited
for. Python's own code stops at once; a call of the system that never returns keeps its thread, which ends with the
process: a worker on this machine is ended for it, and another started. Whoever waits goes on with the next recording.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
import time

LEAST_S = 3600.0  # for any recording, and ...
S_PER_BYTE = 4e-6  # ... so much more: 1.5 times as long as 16-bit sound at 192 kHz lasts
LOOK_S = 1.0  # between two looks: a wait without end would not be broken by Ctrl-C on Windows
LOOK_AT_MOST_S = 60.0  # at a header, before it is a recording's turn; then its own limit holds
STOP_S = 2.0  # until a thread that is told to stop has done so
IMPORT_S = 10.0  # that it may take to get an import over with


class TookTooLong(Exception):
    """The time is up. stuck : what was worked on could not be stopped, and goes on."""

    def __init__(self, stuck: bool = False):
        super().__init__()
        self.stuck = stuck


class _Stop(BaseException):
    """Ends a thread that nobody waits for any more; no `except Exception` on its way holds it."""


def limit_of(size: int, told_s: float | None) -> float:
    """Seconds that a recording of so many bytes may take; `told_s`: what the user says instead.

    >>> limit_of(1_000_000_000, None)
    7600.0
    """
    return LEAST_S + S_PER_BYTE * max(size, 0) if told_s is None else told_s


def check_limit(told_s: float | None) -> None:
    """ValueError unless it is none, or more than 0 seconds."""
    if told_s is not None and not told_s > 0:
        raise ValueError(f"time_limit_s = {told_s}: give seconds, more than 0, or inf for no limit")


def within(limit_s: float, function, *arguments):
    """What `function(*arguments)` returns or raises, unless it takes longer.

    >>> within(10.0, sum, [1, 2])
    3

    Raises
    ------
    TookTooLong
        after `limit_s` seconds.
    """
    if math.isinf(limit_s):
        return function(*arguments)
    outcome: list[tuple[bool, object]] = []
    done = threading.Event()

    def call() -> None:
        try:
            outcome.append((True, function(*arguments)))
        except BaseException as error:
            outcome.append((False, error))
        finally:
            done.set()

    thread = threading.Thread(target=call, name="recording", daemon=True)
    until = time.monotonic() + limit_s
    thread.start()
    try:
        while not done.wait(min(LOOK_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise TookTooLong
    except TookTooLong:
        raise TookTooLong(not _stop(thread)) from None
    except BaseException:  # Ctrl-C as well
        _stop(thread)
        raise
    returned, value = outcome[0]
    if returned:
        return value
    raise value


def _stop(thread: threading.Thread) -> bool:
    """Stop it, unless it imports something: half a module would stay behind, and break all that come after. True: it has ended."""
    until = time.monotonic() + IMPORT_S
    while _imports(thread) and time.monotonic() < until:
        thread.join(0.05)
    if not _imports(thread):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop)
        )
        thread.join(STOP_S)
    return not thread.is_alive()


def _imports(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
