"""Progress of a child process on the clips that it was sent, and which of them are late."""

import time
from collections.abc import Sequence

from kinestore.pipeline.extraction.ipc import ClipOutcome, DecodeFinished, DecodeStarted, Message


class RequestTracker:
    """Progress of the child process on the requests that it has received.

    Attributes:
        unanswered: Indices of requests without outcome, in the order of sending.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = indices
        self.unanswered = dict.fromkeys(indices)
        self._decoding: dict[int, float] = {}
        self._decoded: dict[int, None] = {}
        self._last_message = time.monotonic()

    def receive(self, message: Message, outcomes: dict[int, ClipOutcome]) -> None:
        """Record a message; an outcome is added under its request's index."""
        self._last_message = time.monotonic()
        index = self._indices[message.number]
        if isinstance(message, DecodeStarted):
            self._decoding[index] = self._last_message
        elif isinstance(message, DecodeFinished):
            del self._decoding[index]
            self._decoded[index] = None
        else:
            self._decoding.pop(index, None)
            self._decoded.pop(index, None)
            del self.unanswered[index]
            outcomes[index] = message.outcome

    def in_progress(self) -> list[int]:
        """Return the requests started and not answered, or the next one if there are none."""
        return [*self._decoded, *self._decoding] or [next(iter(self.unanswered))]

    def late(self, timeout_s: float) -> list[int]:
        """Return the clip that decodes for too long, or those that wait too long for an outcome."""
        now = time.monotonic()
        for index, since in self._decoding.items():
            if now - since > timeout_s:
                return [index]
        if not self._decoding and now - self._last_message > timeout_s * max(1, len(self._decoded)):
            return self.in_progress()
        return []
