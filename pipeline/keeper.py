"""Keeps a process that embeds clips, and ends it when a clip takes too long or too much memory."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any

import psutil

from pipeline._reader import VideoError
from pipeline.planned import PlannedView
from store import KinestoreError

if TYPE_CHECKING:
    from pipeline.engine import ClipResult

START_TIMEOUT_S = 300.0
"""How long libraries and weights may take to load."""

LOOK_EVERY_S = 0.2

TRIES = 2
"""A clip whose process died is tried once more: the system may have picked the wrong one."""

BOOT = "import sys; sys.path[:] = {path!r}; from pipeline.engine import serve; serve({handle})"


class Keeper:
    """A process of `pipeline.engine`, started when it is needed and again when it ended.

    Args:
        views: What each extractor is made with, and must say of itself, by name.
        timeout_s: Seconds that one clip may take.
        memory_bytes: Memory that the process may take, or None.
        gpu: The one GPU that the process sees, as CUDA_VISIBLE_DEVICES has it; None leaves that
            as it is.
    """

    def __init__(
        self,
        views: Mapping[str, PlannedView],
        *,
        timeout_s: float,
        memory_bytes: int | None = None,
        gpu: str | None = None,
    ) -> None:
        self._views = dict(views)
        self._environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._closed = False
        self._one_clip = threading.Lock()

    def embed(self, uri: str, names: Sequence[str]) -> "ClipResult":
        """Have a clip embedded.

        Raises:
            VideoError: If the video cannot be used; of kind "timeout", "out-of-memory" or
                "killed-worker" if its process had to be ended or ended by itself.
        """
        with self._one_clip:  # a Dask worker may have several threads
            return self._embed(uri, names)

    def _embed(self, uri: str, names: Sequence[str]) -> "ClipResult":
        status = ""
        for _ in range(TRIES):
            connection = self.start()
            try:
                connection.send((uri, list(names)))
                answer = self._answer(connection, uri)
            except (EOFError, OSError):
                status = self._ended()
                if self._closed:
                    raise KinestoreError("the job was stopped") from None
                continue
            if isinstance(answer, VideoError):
                raise answer
            return answer
        message = f"{uri}: the process that embeds it ended {TRIES} times ({status})"
        raise VideoError("killed-worker", message)

    def start(self) -> "Connection[Any, Any]":
        """Start the process where none runs, and wait until its extractors are loaded.

        Raises:
            KinestoreError: If it does not start, or loads something else than was planned.
        """
        if self._closed:
            raise KinestoreError("the job was stopped")
        if self._connection is not None:
            return self._connection
        ours, theirs = Pipe()
        code = BOOT.format(path=sys.path, handle=theirs.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is for the job to answer
        )
        theirs.close()
        self._connection = ours
        try:
            self._load(ours)
        except KinestoreError:
            self._stop()  # or the next clip would go to a process that is not fit for it
            raise
        return ours

    def _load(self, connection: "Connection[Any, Any]") -> None:
        try:
            connection.send({name: view.options for name, view in self._views.items()})
            if not connection.poll(START_TIMEOUT_S):
                raise KinestoreError(f"extractors did not load within {START_TIMEOUT_S:.0f} s")
            specs = connection.recv()
        except (EOFError, OSError):
            status = self._ended()
            raise KinestoreError(
                f"the process that loads the extractors ended ({status})"
            ) from None
        if isinstance(specs, KinestoreError):
            raise specs
        for name, view in self._views.items():
            if specs[name].name != view.spec.name:
                raise KinestoreError(
                    f"{name}: a worker would make {specs[name].name}, not {view.spec.name}; if its "
                    "weights are the same, so must be its device: name one"
                )

    def close(self) -> None:
        """End the process for good; a clip that it works on is given up."""
        self._closed = True
        self._stop()

    def _answer(self, connection: "Connection[Any, Any]", uri: str) -> "ClipResult | VideoError":
        deadline = time.monotonic() + self._timeout_s
        while not connection.poll(LOOK_EVERY_S):
            if time.monotonic() > deadline:
                self._stop()
                message = f"{uri}: took longer than the {self._timeout_s:g} s that a clip may take"
                raise VideoError("timeout", message)
            if self._memory_bytes is not None and self._resident() > self._memory_bytes:
                self._stop()
                limit = f"{self._memory_bytes / 2**30:.1f} GiB"
                raise VideoError("out-of-memory", f"{uri}: took more than the {limit} of a worker")
        answer: ClipResult | VideoError = connection.recv()
        return answer

    def _resident(self) -> int:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process is not None:
                return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    def _ended(self) -> str:
        """Clear away a process that ended by itself; says how it did."""
        process = self._process
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process is not None:
                process.wait(timeout=1.0)
        self._stop()
        status = process.returncode if process is not None else 0
        return f"signal {-status}" if status < 0 else f"exit status {status}"

    def _stop(self) -> None:
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
