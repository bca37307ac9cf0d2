"""Messages between a Dask worker's process and its child process, and the connection for them."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.errors import VideoError
from kinestore.store import Embedding, VideoInfo


class ClipRequest(NamedTuple):
    """A clip to decode, the names of its missing outputs, and the identity that it must have."""

    uri: str
    outputs: tuple[str, ...]
    clip_id: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipResult:
    """The outputs of one clip.

    Attributes:
        info: Properties of the decoded video.
        embeddings: By extractor.
        errors: Reasons for missing embeddings or frames, by output.
        seconds: Time by stage: "fetch" from an object store, "decode", "prepare" (choose, take and
            shrink frames for extractors), "frames" (the same for stored clips of frames) and each
            extractor's name, its share of a batch.
        frames: Clips of frames to store, by clip format: uint8, shape (T, H, W, 3).
    """

    info: VideoInfo
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    errors: dict[str, VideoError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frames: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


ClipOutcome = ClipResult | VideoError
"""The result of a request, or an error if the video cannot be used at all."""


class DecodeStarted(NamedTuple):
    """The clip of the request of this number, its index in the list sent, is being decoded."""

    number: int


class DecodeFinished(NamedTuple):
    """The clip of the request of this number waits for its forward passes."""

    number: int


class MemoryBlock(NamedTuple):
    """Position and shape of an array of frames in shared memory."""

    offset: int
    shape: tuple[int, ...]


class ClipDone(NamedTuple):
    """The outcome of the request of this number; in transit, its frames are in shared memory."""

    number: int
    outcome: ClipOutcome
    blocks: Mapping[str, MemoryBlock] = {}


Message = DecodeStarted | DecodeFinished | ClipDone


class IpcConnection:
    """Sends messages through a socket, and frames through memory that both processes share.

    Frames are megabytes a clip. Without them a message is so small that it arrives whole or not at
    all: the receiver never waits in the middle of one for a process that has stopped. It takes
    11 ms for 8 MB, where pickling frames into the socket takes 35.

    Args:
        connection: The socket.
        memory: File descriptor of anonymous memory, the same for both processes: it is freed when
            they end, however they end.
    """

    def __init__(self, connection: "Connection[Any, Any]", memory: int) -> None:
        self._connection = connection
        self._memory = memory
        self._end = 0
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message; outcomes are sent from one thread only."""
        if isinstance(message, ClipDone) and isinstance(message.outcome, ClipResult):
            blocks = {name: self._put(frames) for name, frames in message.outcome.frames.items()}
            message = ClipDone(message.number, replace(message.outcome, frames={}), blocks)
        with self._lock:
            self._connection.send(message)

    def receive(self) -> Any:
        """Return the next message.

        Raises:
            EOFError: If the other process has closed its end.
        """
        message = self._connection.recv()
        if isinstance(message, ClipDone) and isinstance(message.outcome, ClipResult):
            frames = {name: self._get(block) for name, block in message.blocks.items()}
            return ClipDone(message.number, replace(message.outcome, frames=frames))
        return message

    def poll(self, timeout_s: float) -> bool:
        """Return whether a message arrives within this time."""
        return self._connection.poll(timeout_s)

    def clear_memory(self) -> None:
        """Free the shared memory of frames that the other process has received."""
        os.ftruncate(self._memory, 0)
        self._end = 0

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
        os.close(self._memory)

    def _put(self, frames: NDArray[np.uint8]) -> MemoryBlock:
        block = MemoryBlock(self._end, frames.shape)
        left = frames.data.cast("B")
        while left:
            written = os.pwrite(self._memory, left, self._end)
            left, self._end = left[written:], self._end + written
        return block

    def _get(self, block: MemoryBlock) -> NDArray[np.uint8]:
        frames = np.empty(block.shape, np.uint8)
        left, offset = frames.data.cast("B"), block.offset
        while left:
            read = os.preadv(self._memory, [left], offset)
            if not read:
                raise EOFError(f"no frames at {offset}")
            left, offset = left[read:], offset + read
        return frames
