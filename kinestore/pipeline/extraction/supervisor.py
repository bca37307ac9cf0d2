"""Supervision of the child process that embeds clips: it is ended when a clip takes too much."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Pipe
from pathlib import Path

import psutil

from kinestore.pipeline.extraction.ipc import (
    ClipOutcome,
    ClipRequest,
    IpcConnection,
)
from kinestore.pipeline.extraction.outputs import Output
from kinestore.pipeline.extraction.request_tracker import RequestTracker
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import KinestoreError

START_TIMEOUT_S = 300.0
"""Time that libraries and weights may take to load."""

POLL_INTERVAL_S = 0.2

MAX_ATTEMPTS = 2
"""A clip whose process died is tried once more: the system may have killed the wrong process."""

MAX_STARTS = 3
"""Times that a process may end while it loads the extractors: the system may have killed it."""

CHILD_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from kinestore.pipeline.signals import end_with_parent; end_with_parent(); "
    "from kinestore.pipeline.extraction.child_process import serve; serve({handle}, {memory})"
)

CHILD_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    **{f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")},
}
"""Environment variables of the child process's C libraries. The first two let glibc reuse the
memory of activations: Dask's own setting returns it after each layer, and page faults would take
half of the time."""


class SupervisorClosed(KinestoreError):
    """The job was stopped while clips were being embedded."""


class _ProcessEnded(Exception):
    """The child process was ended, or ended by itself.

    Attributes:
        in_progress: Indices of the requests in progress: one of them, or none, is the cause.
        kind: Kind of the failure of the clip that is the cause.
        reason: Its message.
        retry: Whether the clip that is the cause is tried again.
    """

    def __init__(
        self, in_progress: Sequence[int], kind: str, reason: str, *, retry: bool = False
    ) -> None:
        super().__init__(reason)
        self.in_progress = in_progress
        self.kind = kind
        self.reason = reason
        self.retry = retry


class Supervisor:
    """Starts a child process when it is needed, ends it when it hangs, and starts it again.

    Args:
        outputs: The outputs of each clip, by name; the child must load the same.
        timeout_s: Seconds that one clip may take to decode, and again to embed.
        memory_bytes: Memory that the child process may take; None for no limit.
        gpu: The one GPU that the child process may use, as in CUDA_VISIBLE_DEVICES; None leaves
            that variable as it is.
        num_decoders: Threads that decode while other clips are embedded.
    """

    def __init__(
        self,
        outputs: Mapping[str, Output],
        *,
        timeout_s: float,
        memory_bytes: int | None = None,
        gpu: str | None = None,
        num_decoders: int = 1,
    ) -> None:
        self._outputs = dict(outputs)
        self._environment = {**os.environ, **CHILD_ENVIRONMENT}
        if gpu is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._num_decoders = num_decoders
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: IpcConnection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def embed(self, requests: Sequence[ClipRequest]) -> list[ClipOutcome]:
        """Return the outcome of each request.

        Clips in progress when the child process ended are tried again one at a time: a clip that
        ends it alone is the cause. Its error is of kind "timeout", "out-of-memory" or
        "killed-worker".
        """
        with self._lock:  # a Dask worker may have several threads
            return self._embed(requests)

    def _embed(self, requests: Sequence[ClipRequest]) -> list[ClipOutcome]:
        outcomes: dict[int, ClipOutcome] = {}
        alone: deque[int] = deque()
        attempts: Counter[int] = Counter()
        while len(outcomes) < len(requests):
            left = [index for index in range(len(requests)) if index not in outcomes]
            batch = [alone.popleft()] if alone else left
            try:
                self._exchange([requests[index] for index in batch], batch, outcomes)
            except _ProcessEnded as ended:
                attempts.update(ended.in_progress)
                again = ended.retry and attempts[ended.in_progress[0]] < MAX_ATTEMPTS
                if again or len(ended.in_progress) > 1:
                    alone.extend(ended.in_progress)
                else:
                    (index,) = ended.in_progress
                    message = f"{requests[index].uri}: {ended.reason}"
                    outcomes[index] = VideoError(ended.kind, message)
        return [outcomes[index] for index in range(len(requests))]

    def _exchange(
        self,
        requests: Sequence[ClipRequest],
        indices: Sequence[int],
        outcomes: dict[int, ClipOutcome],
    ) -> None:
        """Send requests and receive messages until each request has its outcome.

        Raises:
            _ProcessEnded: If the child process ends before that.
        """
        connection = self.start()
        tracker = RequestTracker(indices)
        try:
            connection.send(requests)
            while tracker.unanswered:
                if connection.poll(POLL_INTERVAL_S):
                    tracker.receive(connection.receive(), outcomes)
                else:
                    self._check_limits(tracker)
        except (EOFError, OSError):
            status = self._exit_status()
            if self._closed:
                raise SupervisorClosed("the job was stopped") from None
            reason = f"the process that embeds it ended {MAX_ATTEMPTS} times ({status})"
            raise _ProcessEnded(
                tracker.in_progress(), "killed-worker", reason, retry=True
            ) from None

    def _check_limits(self, tracker: RequestTracker) -> None:
        """End the child process if it takes too much time or memory."""
        if late := tracker.late(self._timeout_s):
            self._stop()
            reason = f"took longer than the {self._timeout_s:g} s that a clip may take"
            raise _ProcessEnded(late, "timeout", reason)
        if self._memory_bytes is not None and self._resident_bytes() > self._memory_bytes:
            self._stop()
            reason = f"took more than the {self._memory_bytes / 2**30:.1f} GiB of a worker"
            raise _ProcessEnded(tracker.in_progress(), "out-of-memory", reason)

    def start(self) -> IpcConnection:
        """Start the child process if none runs, and wait until its extractors are loaded.

        Raises:
            KinestoreError: If it does not start, or loads other outputs than planned.
        """
        for _ in range(MAX_STARTS):
            if self._closed:
                raise SupervisorClosed("the job was stopped")
            if self._connection is not None:
                return self._connection
            self._connection = self._launch()
            try:
                self._load(self._connection)
            except KinestoreError:
                self._stop()  # or the next clip would be sent to it
                raise
            except (EOFError, OSError):
                status = self._exit_status()
            else:
                return self._connection
        raise KinestoreError(
            f"the process that loads the extractors ended {MAX_STARTS} times ({status}); if the "
            "memory is full, use fewer workers"
        )

    def _launch(self) -> IpcConnection:
        (ours, theirs), memory = Pipe(), os.memfd_create("kinestore-frames")
        code = CHILD_CODE.format(path=_import_path(), handle=theirs.fileno(), memory=memory)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno(), memory],
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the job to answer
            )
        return IpcConnection(ours, memory)

    def _load(self, connection: IpcConnection) -> None:
        """Have the child process load the extractors; EOFError or OSError if it ended."""
        deadline = time.monotonic() + START_TIMEOUT_S
        connection.send((self._outputs, self._num_decoders))
        while not connection.poll(POLL_INTERVAL_S):
            if self._closed:
                raise SupervisorClosed("the job was stopped")
            if time.monotonic() > deadline:
                raise KinestoreError(f"extractors did not load within {START_TIMEOUT_S:.0f} s")
        specs = connection.receive()
        if isinstance(specs, KinestoreError):
            raise specs
        for name, output in self._outputs.items():
            if specs[name].name != output.spec.name:
                raise KinestoreError(
                    f"{name}: a worker would make {specs[name].name}, not {output.spec.name}; if "
                    "its weights are the same, its device differs: name one"
                )

    def close(self) -> None:
        """End the child process for good; its clips in progress are dropped."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._lock:  # `embed` sees that the process has ended, and returns
            self._stop()

    def _resident_bytes(self) -> int:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process is not None:
                return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    def _exit_status(self) -> str:
        """Clean up after a process that ended by itself, and return its status in words."""
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


def _import_path() -> list[str]:
    """Return sys.path as a child process should have it.

    Relative entries would follow its working folder, and Dask puts a worker's folder first, whose
    parent other users may have made.
    """
    ours = str(Path(__file__).resolve().parents[3])
    kept = [
        path for path in sys.path if Path(path).is_absolute() and "dask-scratch-space" not in path
    ]
    return kept if ours in kept else [ours, *kept]
