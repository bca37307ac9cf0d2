"""Decode each clip once, make all its outputs from that decode, and embed clips in batches."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from kinestore.extractors import Extractor, PreparedClip
from kinestore.pipeline.extraction.ipc import (
    ClipOutcome,
    ClipRequest,
    ClipResult,
    DecodeFinished,
    DecodeStarted,
    Message,
)
from kinestore.pipeline.video.clip_format import ClipFormat
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError, with_uri
from kinestore.pipeline.video.identity import unchanged
from kinestore.pipeline.video.local_copy import local_video
from kinestore.pipeline.video.segment import Segment, split_uri

Producer = Extractor | ClipFormat
"""Makes an embedding, or a clip of frames, from a decoded video."""


@dataclass(kw_only=True)
class _DecodedClip:
    """A decoded clip that waits for its embeddings, and its result so far."""

    uri: str
    result: ClipResult
    prepared: dict[str, PreparedClip] = field(default_factory=dict)


def embed_clips(
    requests: Sequence[ClipRequest],
    *,
    producers: Mapping[str, Producer],
    num_decoders: int = 1,
    report: Callable[[Message], None] = lambda message: None,
) -> Iterator[tuple[int, ClipOutcome]]:
    """Embed clips in batches, while `num_decoders` threads decode the next ones.

    Yields:
        The index and the outcome of each request, in order.
    """
    batch = max((producers[name].batch for r in requests for name in r.outputs), default=1)
    waiting: deque[Future[_DecodedClip | VideoError]] = deque()
    with ThreadPoolExecutor(num_decoders) as pool:
        to_come = (
            pool.submit(_decode, index, request, producers, report)
            for index, request in enumerate(requests)
        )
        for first in range(0, len(requests), batch):
            waiting.extend(islice(to_come, batch + num_decoders - len(waiting)))
            clips = [waiting.popleft().result() for _ in range(min(batch, len(waiting)))]
            waiting.extend(islice(to_come, batch + num_decoders - len(waiting)))
            _embed_batch([clip for clip in clips if isinstance(clip, _DecodedClip)], producers)
            outcomes = (clip.result if isinstance(clip, _DecodedClip) else clip for clip in clips)
            yield from enumerate(outcomes, start=first)


def _decode(
    index: int,
    request: ClipRequest,
    producers: Mapping[str, Producer],
    report: Callable[[Message], None],
) -> "_DecodedClip | VideoError":
    """Decode a clip once, prepare it for each extractor and make its clips of frames."""
    report(DecodeStarted(index))
    seconds: dict[str, float] = {}
    try:
        segment = split_uri(request.uri)[1]
        same = partial(_same_bytes, clip_id=request.clip_id, segment=segment)
        with local_video(request.uri, seconds) as path, same(path):
            with _timed(seconds, "decode"):
                video = DecodedVideo(path, segment=segment)
            clip = _DecodedClip(
                uri=request.uri, result=ClipResult(info=video.info, seconds=seconds)
            )
            for name in request.outputs:
                try:
                    with _as_video_error(request.uri, name):
                        _prepare(name, producers[name], video, clip)
                except VideoError as error:
                    clip.result.errors[name] = with_uri(error, path, request.uri)
    except VideoError as error:
        return error
    report(DecodeFinished(index))
    return clip


def _same_bytes(
    path: Path, *, clip_id: str | None, segment: Segment | None
) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if clip_id is None else unchanged(path, clip_id, segment)


def _prepare(name: str, producer: Producer, video: DecodedVideo, clip: _DecodedClip) -> None:
    if isinstance(producer, ClipFormat):
        with _timed(clip.result.seconds, "frames"):
            clip.result.frames[name] = producer.frames_of(video)
    else:
        with _timed(clip.result.seconds, "prepare"):
            clip.prepared[name] = producer.prepare(video)


def _embed_batch(clips: Sequence[_DecodedClip], producers: Mapping[str, Producer]) -> None:
    for name, producer in producers.items():
        if isinstance(producer, ClipFormat):  # made from the decode already
            continue
        prepared = [clip for clip in clips if name in clip.prepared]
        try:
            _embed(name, producer, prepared)
        except VideoError as error:
            if len(prepared) == 1:
                prepared[0].result.errors[name] = error
            else:  # find the clip that causes it
                for clip in prepared:
                    _embed_batch([clip], {name: producer})


def _embed(name: str, extractor: Extractor, clips: Sequence[_DecodedClip]) -> None:
    if not clips:
        return
    started = time.perf_counter()
    with _as_video_error(clips[0].uri, name):
        embeddings = extractor.embed([clip.prepared[name] for clip in clips])
    share = (time.perf_counter() - started) / len(clips)
    for clip, embedding in zip(clips, embeddings, strict=True):
        clip.result.seconds[name] = share
        if np.isfinite(embedding.vector).all():
            clip.result.embeddings[name] = embedding
        else:
            reason = f"{clip.uri}: {name} gave values that are not finite"
            clip.result.errors[name] = VideoError("not-finite", reason)


@contextlib.contextmanager
def _as_video_error(uri: str, name: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, cv2.error) as error:  # raised by torch and OpenCV on a bad picture
        reason = " ".join(str(error).split())[:300]
        raise VideoError("extractor-error", f"{uri}: {name} failed ({reason})") from error


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
