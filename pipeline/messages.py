"""What travels between a job's worker and the process that embeds its clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline._reader import VideoError
from store import Embedding, VideoInfo


class Request(NamedTuple):
    """A clip to embed.

    Attributes:
        uri: Its path or address.
        extractors: Names of those that embed it.
    """

    uri: str
    extractors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What became of one clip.

    Attributes:
        info: What decoding told.
        embeddings: By extractor.
        errors: Why there is no embedding, by extractor.
        seconds: Time by stage: "fetch" from an object store, "decode", "prepare" (choose frames,
            take and shrink them) and each extractor's name, its share of a batch.
    """

    info: VideoInfo
    embeddings: Mapping[str, Embedding]
    errors: Mapping[str, VideoError]
    seconds: Mapping[str, float]


Answer = ClipResult | VideoError
"""What became of a request; an error if the video cannot be used at all."""


class Begun(NamedTuple):
    """A clip is being decoded: the request's number."""

    at: int


class Ready(NamedTuple):
    """A clip waits for its forward passes."""

    at: int


class Answered(NamedTuple):
    """A clip is done."""

    at: int
    answer: Answer


Message = Begun | Ready | Answered
