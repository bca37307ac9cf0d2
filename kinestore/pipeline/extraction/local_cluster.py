"""A Dask cluster inside this process: nobody outside can reach it, and nothing of it is left.

Its workers are threads. Each has a child process that decodes and embeds, so that one thread has
little to do; no other process is started, and no socket listens.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, SpecCluster, Worker
from distributed.system import MEMORY_LIMIT

from kinestore.pipeline.extraction.scratch_folder import scratch_folder
from kinestore.pipeline.signals import interrupts_held

SETTINGS = {
    "distributed.worker.use-file-locking": False,
    **{f"distributed.worker.memory.{step}": False for step in ("target", "spill", "pause")},
}
"""Dask's settings. Its workers hold no data, and share one process, whose memory is not that of a
worker; the memory of each child process is limited by its supervisor."""


class _Closed:
    """Has a Dask server open no HTTP port, and keep its folder out of the import path."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        folder: str = self.local_directory  # type: ignore[attr-defined]
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Start none: Dask's own listens on all addresses, dashboard or not."""


class _Scheduler(_Closed, Scheduler):
    pass


class _Worker(_Closed, Worker):
    pass


@contextlib.contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start workers in this process, and end them and their child processes with the block."""
    with contextlib.ExitStack() as stack:
        with interrupts_held():
            stack.enter_context(dask.config.set(SETTINGS))
            with scratch_folder("dask") as scratch:  # which Dask wants while it starts
                cluster = stack.enter_context(_cluster(count, scratch))
            client = stack.enter_context(Client(cluster))
        try:
            yield client
        finally:
            with interrupts_held():
                stack.close()


def _cluster(count: int, scratch: Path) -> SpecCluster:
    server = {"host": None, "protocol": "inproc://", "local_directory": str(scratch)}
    worker = {
        **server,
        "nthreads": 1,
        "memory_limit": MEMORY_LIMIT // count,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    return SpecCluster(
        scheduler={"cls": _Scheduler, "options": {**server, "dashboard": False}},
        workers={number: {"cls": _Worker, "options": worker} for number in range(count)},
        silence_logs=logging.CRITICAL,  # users get one sentence and recorded failures
    )
