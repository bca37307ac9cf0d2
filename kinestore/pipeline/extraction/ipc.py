"""What travels between a job's worker and the process that embeds its clips."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.reader import VideoError
from kinestore.store import Embedding, VideoInfo


class Request(NamedTuple):
    """A clip to embed, or to take frames of, or both.

    Attributes:
        uri: Its path or address.
        extractors: Names of what is wanted of it.
    """

    uri: str
    extractors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What became of one clip.

    Attributes:
        info: What decoding told.
        embeddings: By extractor.
        errors: Why there is no embedding, or no frames, by name.
        seconds: Time by stage: "fetch" from an object store, "decode", "prepare" (choose frames,
            take and shrink them), "frames" (the same for those that are kept) and each
            extractor's name, its share of a batch.
        frames: Those that are kept, by name: uint8, shape (T, H, W, 3).
    """

    info: VideoInfo
    embeddings: Mapping[str, Embedding]
    errors: Mapping[str, VideoError]
    seconds: Mapping[str, float]
    frames: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


Answer = ClipResult | VideoError
"""What became of a request; an error if the video cannot be used at all."""


class Begun(NamedTuple):
    """A clip is being decoded: the request's number."""

    at: int


class Ready(NamedTuple):
    """A clip waits for its forward passes."""

    at: int


class Place(NamedTuple):
    """Where frames lie in shared memory: they do not travel in a message."""

    offset: int
    shape: tuple[int, ...]


class Answered(NamedTuple):
    """A clip is done; on the way, its frames are in their places."""

    at: int
    answer: Answer
    places: Mapping[str, Place] = {}


Message = Begun | Ready | Answered


class Channel:
    """Sends messages through a socket, and frames through memory that both ends see.

    Frames are megabytes a clip. A message stays so small that it is there in whole or not at all:
    whoever receives one never waits in the middle of it for a process that has stopped. It
    costs a third of pickling frames into the socket (11 ms against 35 for 8 MB).

    Args:
        connection: To the other end.
        memory: File descriptor of memory without a name, the same for both ends: nothing is left
            of it when they end, in whatever way.
    """

    def __init__(self, connection: "Connection[Any, Any]", memory: int) -> None:
        self._connection = connection
        self._memory = memory
        self._end = 0
        self._one_at_a_time = threading.Lock()

    def send(self, message: Any) -> None:
        """Send something; answers come from one thread alone."""
        if isinstance(message, Answered) and isinstance(message.answer, ClipResult):
            places = {name: self._put(frames) for name, frames in message.answer.frames.items()}
            message = Answered(message.at, replace(message.answer, frames={}), places)
        with self._one_at_a_time:
            self._connection.send(message)

    def receive(self) -> Any:
        """The next thing that was sent.

        Raises:
            EOFError: If there is nobody at the other end.
        """
        message = self._connection.recv()
        if isinstance(message, Answered) and isinstance(message.answer, ClipResult):
            frames = {name: self._get(place) for name, place in message.places.items()}
            return Answered(message.at, replace(message.answer, frames=frames))
        return message

    def poll(self, timeout_s: float) -> bool:
        """Whether there is something to receive within so many seconds."""
        return self._connection.poll(timeout_s)

    def forget(self) -> None:
        """Give back the memory of what this end has sent, once the other has received it."""
        os.ftruncate(self._memory, 0)
        self._end = 0

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
        os.close(self._memory)

    def _put(self, frames: NDArray[np.uint8]) -> Place:
        place = Place(self._end, frames.shape)
        left = frames.data.cast("B")
        while left:
            written = os.pwrite(self._memory, left, self._end)
            left, self._end = left[written:], self._end + written
        return place

    def _get(self, place: Place) -> NDArray[np.uint8]:
        frames = np.empty(place.shape, np.uint8)
        left, offset = frames.data.cast("B"), place.offset
        while left:
            read = os.preadv(self._memory, [left], offset)
            if not read:
                raise EOFError(f"no frames at {offset}")
            left, offset = left[read:], offset + read
        return frames
