"""What travels between a job's worker and the process that embeds its clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline._reader import VideoError
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
