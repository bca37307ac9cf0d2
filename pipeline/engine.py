"""What happens to one clip: decode it once, let each extractor take its frames.

A video can hang a decoder, eat all memory or crash the process, and only a process can be stopped
from outside. So clips are embedded in a process of their own (`serve`), and `pipeline.keeper`
watches it.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import cv2
import numpy as np
import torch

import extractors
from extractors import Extractor
from pipeline._fetch import local_video, named
from pipeline.decode import DecodedVideo, VideoError
from store import Embedding, KinestoreError, VideoInfo


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What became of one clip.

    Attributes:
        info: What decoding told.
        embeddings: By extractor.
        errors: Why there is no embedding, by extractor.
        seconds: Time by stage: "fetch" from an object store, "decode" and each extractor's name.
    """

    info: VideoInfo
    embeddings: Mapping[str, Embedding]
    errors: Mapping[str, VideoError]
    seconds: Mapping[str, float]


def embed_clip(uri: str, names: Sequence[str], *, models: Mapping[str, Extractor]) -> ClipResult:
    """Decode a clip once and embed it with each extractor named.

    Raises:
        VideoError: If the video cannot be used.
    """
    seconds: dict[str, float] = {}
    embeddings, errors = {}, {}
    with local_video(uri, seconds) as path:
        with _timed(seconds, "decode"):
            video = DecodedVideo(path)
        for name in names:
            try:
                with _timed(seconds, name):
                    embeddings[name] = _embed(models[name], video, uri)
            except VideoError as error:
                errors[name] = named(error, path, uri)
    return ClipResult(info=video.info, embeddings=embeddings, errors=errors, seconds=seconds)


def serve(handle: int) -> None:
    """Embed what is asked for over a connection until it closes, and end with whoever asks.

    First the options of each extractor come in, by name, and their specifications go out, or the
    error that says why there are none; then each (uri, names) is answered by a `ClipResult` or a
    `VideoError`.

    Args:
        handle: File descriptor of the connection; standard input stays open as long as there is
            somebody to serve.
    """
    threading.Thread(target=_end_with_keeper, daemon=True).start()
    use_one_thread()
    with Connection(handle) as connection, contextlib.suppress(EOFError, BrokenPipeError):
        options = connection.recv()
        try:
            models = {name: extractors.make(name, options[name]) for name in options}
        except KinestoreError as error:
            connection.send(error)
            return
        connection.send({name: model.spec for name, model in models.items()})
        while True:
            uri, wanted = connection.recv()
            try:
                answer: ClipResult | VideoError = embed_clip(uri, wanted, models=models)
            except VideoError as error:
                answer = error
            connection.send(answer)


def use_one_thread() -> None:
    """Keep libraries to one thread: workers fill the cores, and results stay bit-identical."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with_keeper() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # the main thread may hang in a decoder


def _embed(model: Extractor, video: DecodedVideo, uri: str) -> Embedding:
    name = model.spec.extractor
    try:
        embedding = extractors.embed_clip(model, video)
    except (RuntimeError, cv2.error) as error:  # what torch and OpenCV raise on a bad picture
        reason = " ".join(str(error).split())[:300]
        raise VideoError("extractor-error", f"{uri}: {name} failed ({reason})") from error
    if not np.isfinite(embedding.vector).all():
        raise VideoError("not-finite", f"{uri}: {name} gave values that are not finite")
    return embedding


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
