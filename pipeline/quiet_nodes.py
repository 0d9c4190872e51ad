"""A Dask scheduler and worker that open no HTTP server: theirs tells everybody who asks, and nobody here does."""

from __future__ import annotations

from distributed import Scheduler, Worker


class _Quiet:
    def start_http_server(self, *_, **__) -> None:
        """None; the port for work is the only one."""


class QuietScheduler(_Quiet, Scheduler):
    """See the module's docstring."""


class QuietWorker(_Quiet, Worker):
    """See the module's docstring."""
