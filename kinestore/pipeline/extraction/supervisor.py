"""Keeps a process that embeds clips, and ends it when one takes too long or too much memory."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Pipe

import psutil

from kinestore.pipeline.extraction.ipc import Answer, Begun, Channel, Message, Ready, Request
from kinestore.pipeline.extraction.outputs import Planned
from kinestore.pipeline.video.reader import VideoError
from kinestore.store import KinestoreError

START_TIMEOUT_S = 300.0
"""How long libraries and weights may take to load."""

LOOK_EVERY_S = 0.2

TRIES = 2
"""A clip whose process died is tried once more: the system may have picked the wrong one."""

BOOT = (
    "import sys; sys.path[:] = {path!r}; "
    "from kinestore.pipeline.extraction.decode_and_embed import serve; serve({handle}, {memory})"
)


class _Ended(Exception):
    """The process was ended, or ended by itself.

    Attributes:
        under_way: Requests that it worked on, by number: one of them, or nothing, is to blame.
        kind: Of the failure, if there is one to blame.
        reason: What to say of it.
        once_more: Whether the one to blame is tried again.
    """

    def __init__(
        self, under_way: Sequence[int], kind: str, reason: str, *, once_more: bool = False
    ) -> None:
        super().__init__(reason)
        self.under_way = under_way
        self.kind = kind
        self.reason = reason
        self.once_more = once_more


class Keeper:
    """A process of `pipeline.engine`, started when it is needed and again when it ended.

    Args:
        views: What is taken from each clip, by name; what takes it must say the same of itself.
        timeout_s: Seconds that one clip may take to decode, and again to embed.
        memory_bytes: Memory that the process may take, or None.
        gpu: The one GPU that the process sees, as CUDA_VISIBLE_DEVICES has it; None leaves that
            as it is.
        decoders: Threads that decode while other clips are embedded.
    """

    def __init__(
        self,
        views: Mapping[str, Planned],
        *,
        timeout_s: float,
        memory_bytes: int | None = None,
        gpu: str | None = None,
        decoders: int = 1,
    ) -> None:
        self._views = dict(views)
        self._environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._decoders = decoders
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._closed = False
        self._one_shard = threading.Lock()

    def embed(self, requests: Sequence[Request]) -> list[Answer]:
        """Have clips embedded, each to a result or an error.

        Clips that were under way when the process ended are tried again one at a time: who then
        ends it alone is to blame. Errors are of kind "timeout", "out-of-memory" or
        "killed-worker" then.
        """
        with self._one_shard:  # a Dask worker may have several threads
            return self._embed(requests)

    def _embed(self, requests: Sequence[Request]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        alone: deque[int] = deque()
        tries: Counter[int] = Counter()
        while len(answers) < len(requests):
            left = [at for at in range(len(requests)) if at not in answers]
            some = [alone.popleft()] if alone else left
            try:
                self._exchange([requests[at] for at in some], some, answers)
            except _Ended as ended:
                tries.update(ended.under_way)
                again = tries[ended.under_way[0]] < TRIES if ended.once_more else False
                if again or len(ended.under_way) > 1:
                    alone.extend(ended.under_way)
                else:
                    (at,) = ended.under_way
                    answers[at] = VideoError(ended.kind, f"{requests[at].uri}: {ended.reason}")
        return [answers[at] for at in range(len(requests))]

    def _exchange(
        self, requests: Sequence[Request], numbers: Sequence[int], answers: dict[int, Answer]
    ) -> None:
        """Ask for clips and take what comes until each has an answer.

        Raises:
            _Ended: If the process does not live to give them all.
        """
        channel = self.start()
        course = _Course(numbers)
        try:
            channel.send(requests)
            while course.unanswered:
                if channel.poll(LOOK_EVERY_S):
                    course.take(channel.receive(), answers)
                else:
                    self._look_at(course)
        except (EOFError, OSError):
            status = self._ended()
            if self._closed:
                raise KinestoreError("the job was stopped") from None
            reason = f"the process that embeds it ended {TRIES} times ({status})"
            raise _Ended(course.under_way(), "killed-worker", reason, once_more=True) from None

    def _look_at(self, course: "_Course") -> None:
        """End the process if it takes too long or too much."""
        if late := course.late(self._timeout_s):
            self._stop()
            reason = f"took longer than the {self._timeout_s:g} s that a clip may take"
            raise _Ended(late, "timeout", reason)
        if self._memory_bytes is not None and self._resident() > self._memory_bytes:
            self._stop()
            limit = f"{self._memory_bytes / 2**30:.1f} GiB"
            raise _Ended(
                course.under_way(), "out-of-memory", f"took more than the {limit} of a worker"
            )

    def start(self) -> Channel:
        """Start the process where none runs, and wait until its extractors are loaded.

        Raises:
            KinestoreError: If it does not start, or loads something else than was planned.
        """
        if self._closed:
            raise KinestoreError("the job was stopped")
        if self._channel is not None:
            return self._channel
        (ours, theirs), memory = Pipe(), os.memfd_create("kinestore-frames")
        code = BOOT.format(path=sys.path, handle=theirs.fileno(), memory=memory)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            pass_fds=[theirs.fileno(), memory],
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is for the job to answer
        )
        theirs.close()
        self._channel = Channel(ours, memory)
        try:
            self._load(self._channel)
        except KinestoreError:
            self._stop()  # or the next clip would go to a process that is not fit for it
            raise
        return self._channel

    def _load(self, channel: Channel) -> None:
        try:
            channel.send((self._views, self._decoders))
            if not channel.poll(START_TIMEOUT_S):
                raise KinestoreError(f"extractors did not load within {START_TIMEOUT_S:.0f} s")
            specs = channel.receive()
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
        """End the process for good; clips that it works on are given up."""
        self._closed = True
        self._stop()

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
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if channel is not None:
            channel.close()
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


class _Course:
    """How far the process is with what it was asked for.

    Attributes:
        unanswered: Numbers of requests, in the order of asking.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self.unanswered = dict.fromkeys(numbers)
        self._begun: dict[int, float] = {}
        self._ready: dict[int, None] = {}
        self._heard = time.monotonic()

    def take(self, message: Message, answers: dict[int, Answer]) -> None:
        """Note a message; an answer is kept under the request's number."""
        self._heard = time.monotonic()
        at = self._numbers[message.at]
        if isinstance(message, Begun):
            self._begun[at] = self._heard
        elif isinstance(message, Ready):
            del self._begun[at]
            self._ready[at] = None
        else:
            self._begun.pop(at, None)
            self._ready.pop(at, None)
            del self.unanswered[at]
            answers[at] = message.answer

    def under_way(self) -> list[int]:
        """Requests begun and not answered; the next one if there are none."""
        return [*self._ready, *self._begun] or [next(iter(self.unanswered))]

    def late(self, timeout_s: float) -> list[int]:
        """The clip whose decoding takes too long, or those that wait too long for an answer."""
        now = time.monotonic()
        for at, since in self._begun.items():
            if now - since > timeout_s:
                return [at]
        if not self._begun and now - self._heard > timeout_s * max(1, len(self._ready)):
            return self.under_way()
        return []
