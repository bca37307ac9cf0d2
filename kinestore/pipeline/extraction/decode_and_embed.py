"""What happens to clips: decode each once, take what is wanted of it, embed in batches.

A video can hang a decoder, eat all memory or crash the process, and only a process can be stopped
from outside. So clips are embedded in a process of their own (`serve`), and `pipeline.keeper`
watches it.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from kinestore.extractors import Extractor, Prepared
from kinestore.pipeline.extraction.ipc import (
    Answer,
    Answered,
    Begun,
    Channel,
    ClipResult,
    Message,
    Ready,
    Request,
)
from kinestore.pipeline.video.clip_format import TakenFrames
from kinestore.pipeline.video.decoded_video import DecodedVideo, VideoError
from kinestore.pipeline.video.local_copy import local_video, named
from kinestore.store import Embedding, KinestoreError, VideoInfo

Taker = Extractor | TakenFrames
"""Takes an embedding, or the frames themselves, from a decoded clip."""


@dataclass(kw_only=True)
class _Clip:
    """A decoded clip on its way to its embeddings, with the frames that are kept."""

    uri: str
    info: VideoInfo
    prepared: dict[str, Prepared] = field(default_factory=dict)
    frames: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    errors: dict[str, VideoError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def embed_clips(
    requests: Sequence[Request],
    *,
    models: Mapping[str, Taker],
    decoders: int = 1,
    tell: Callable[[Message], None] = lambda message: None,
) -> Iterator[tuple[int, Answer]]:
    """Embed clips in batches; `decoders` threads decode the next while the last are embedded.

    Yields:
        Each request's number and what became of it, in the order of the requests.
    """
    batch = max((models[name].batch for r in requests for name in r.extractors), default=1)
    waiting: deque[Future[_Clip | VideoError]] = deque()
    with ThreadPoolExecutor(decoders) as pool:
        to_come = (
            pool.submit(_decode, at, request, models, tell) for at, request in enumerate(requests)
        )
        for first in range(0, len(requests), batch):
            waiting.extend(islice(to_come, batch + decoders - len(waiting)))
            some = [waiting.popleft().result() for _ in range(min(batch, len(waiting)))]
            waiting.extend(islice(to_come, batch + decoders - len(waiting)))
            _embed_batch([clip for clip in some if isinstance(clip, _Clip)], models)
            yield from enumerate(map(_answer, some), start=first)


def serve(handle: int, memory: int) -> None:
    """Embed what is asked for over a connection until it closes, and end with whoever asks.

    First what is taken from clips, by name, and the number of decoding threads come in, and the
    specifications go out, or the error that says why there are none; then each list of requests
    is followed by messages until every one is answered.

    Args:
        handle: File descriptor of the connection; standard input stays open as long as there is
            somebody to serve.
        memory: That of the memory for frames.
    """
    threading.Thread(target=_end_with_keeper, daemon=True).start()
    use_one_thread()
    channel = Channel(Connection(handle), memory)
    with contextlib.closing(channel), contextlib.suppress(EOFError, BrokenPipeError):
        planned, decoders = channel.receive()
        try:
            models = {name: plan.make() for name, plan in planned.items()}
        except KinestoreError as error:
            channel.send(error)
            return
        channel.send({name: model.spec for name, model in models.items()})
        while True:
            requests = channel.receive()
            channel.forget()
            for at, answer in embed_clips(
                requests, models=models, decoders=decoders, tell=channel.send
            ):
                channel.send(Answered(at, answer))


def use_one_thread() -> None:
    """Keep libraries to one thread: workers fill the cores, and results stay bit-identical."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with_keeper() -> None:
    while os.read(0, 1):  # and not through sys.stdin, whose lock Python wants as it ends
        pass
    os._exit(0)  # the main thread may hang in a decoder


def _decode(
    at: int,
    request: Request,
    models: Mapping[str, Taker],
    tell: Callable[[Message], None],
) -> "_Clip | VideoError":
    """Decode a clip once, prepare it for each extractor and take the frames that are kept."""
    tell(Begun(at))
    seconds: dict[str, float] = {}
    try:
        with local_video(request.uri, seconds) as path:
            with _timed(seconds, "decode"):
                video = DecodedVideo(path)
            clip = _Clip(uri=request.uri, info=video.info, seconds=seconds)
            for name in request.extractors:
                try:
                    with _failing_as_video(request.uri, name):
                        _take(name, models[name], video, clip)
                except VideoError as error:
                    clip.errors[name] = named(error, path, request.uri)
    except VideoError as error:
        return error
    tell(Ready(at))
    return clip


def _take(name: str, model: Taker, video: DecodedVideo, clip: _Clip) -> None:
    if isinstance(model, TakenFrames):
        with _timed(clip.seconds, "frames"):
            clip.frames[name] = model.take(video)
    else:
        with _timed(clip.seconds, "prepare"):
            clip.prepared[name] = model.prepare(video)


def _embed_batch(clips: Sequence[_Clip], models: Mapping[str, Taker]) -> None:
    for name, model in models.items():
        if isinstance(model, TakenFrames):  # as they were taken
            continue
        some = [clip for clip in clips if name in clip.prepared]
        try:
            _embed(name, model, some)
        except VideoError as error:
            if len(some) == 1:
                some[0].errors[name] = error
            else:  # one of them may be to blame
                for clip in some:
                    _embed_batch([clip], {name: model})


def _embed(name: str, model: Extractor, clips: Sequence[_Clip]) -> None:
    if not clips:
        return
    started = time.perf_counter()
    with _failing_as_video(clips[0].uri, name):
        embeddings = model.embed([clip.prepared[name] for clip in clips])
    share = (time.perf_counter() - started) / len(clips)
    for clip, embedding in zip(clips, embeddings, strict=True):
        clip.seconds[name] = share
        if np.isfinite(embedding.vector).all():
            clip.embeddings[name] = embedding
        else:
            reason = f"{clip.uri}: {name} gave values that are not finite"
            clip.errors[name] = VideoError("not-finite", reason)


def _answer(clip: _Clip | VideoError) -> Answer:
    if isinstance(clip, VideoError):
        return clip
    return ClipResult(
        info=clip.info,
        embeddings=clip.embeddings,
        errors=clip.errors,
        seconds=clip.seconds,
        frames=clip.frames,
    )


@contextlib.contextmanager
def _failing_as_video(uri: str, name: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, cv2.error) as error:  # what torch and OpenCV raise on a bad picture
        reason = " ".join(str(error).split())[:300]
        raise VideoError("extractor-error", f"{uri}: {name} failed ({reason})") from error


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
