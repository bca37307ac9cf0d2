"""What one worker does: decode each clip of a shard once, embed it, commit the shard's parts.

Only names travel to a worker and only a receipt travels back; frames never leave the process.
"""

import contextlib
import functools
import importlib.metadata
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import cv2
import numpy as np
import torch
from distributed import Worker, WorkerPlugin, get_worker

import extractors
from extractors import Extractor
from pipeline.decode import DecodedVideo, VideoError
from store import Clip, Embedding, Failure, Source, Store


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """One clip that lacks something.

    Attributes:
        clip_id: Identity of its bytes.
        sources: The paths with those bytes; the first is read.
        extractors: Names of the extractors whose embedding is missing.
        known: Whether the store has the clip itself already.
        attempt: 1, or more where it failed before.
    """

    clip_id: str
    sources: tuple[Source, ...]
    extractors: tuple[str, ...]
    known: bool
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Clips that are committed together, as the part of this number."""

    number: int
    clips: tuple[ClipTask, ...]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a worker did with a shard.

    Attributes:
        done: Identities of the clips that now have all that was asked for.
        failures: One for each source that has not, as they stand in the ledger.
        num_frames: Frames decoded.
        seconds: Time by stage: "decode" and each extractor's name.
    """

    done: tuple[str, ...]
    failures: tuple[Failure, ...]
    num_frames: int
    seconds: Mapping[str, float]


class LoadExtractors(WorkerPlugin):
    """Makes the extractors once in each worker, not once a task.

    Attributes:
        models: Each extractor by its name, once the worker has started.
    """

    name = "kinestore-extractors"

    def __init__(self, names: Sequence[str], *, device: str) -> None:
        self._names = list(names)
        self._device = device
        self.models: dict[str, Extractor] = {}

    def setup(self, worker: Worker) -> None:
        """Load them; one thread each, so that bits do not depend on the number of workers."""
        use_one_thread()
        self.models = {name: extractors.create(name, device=self._device) for name in self._names}


def use_one_thread() -> None:
    """Keep libraries to one thread: workers fill the cores, and results stay bit-identical."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def run_shard(store_path: str, shard: Shard) -> Receipt:
    """Decode, embed and commit a shard, inside a Dask worker that has the plugin."""
    plugin = get_worker().plugins[LoadExtractors.name]
    if not isinstance(plugin, LoadExtractors):
        raise TypeError(f"worker plugin {LoadExtractors.name!r} is a {type(plugin).__name__}")
    return extract_shard(Store(store_path), shard, plugin.models)


@dataclass
class _Shelf:
    """What a shard has so far."""

    clips: list[Clip] = field(default_factory=list)
    embeddings: dict[str, list[tuple[str, Embedding]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    failures: list[Failure] = field(default_factory=list)
    num_frames: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def extract_shard(store: Store, shard: Shard, models: Mapping[str, Extractor]) -> Receipt:
    """Decode each clip once, let each extractor take its frames, commit all that came out.

    A clip that cannot be done becomes a failure; the rest of the shard goes on.
    """
    shelf = _Shelf()
    for task in shard.clips:
        _extract_clip(task, models, shelf)
    _commit(store, shard.number, models, shelf)
    failed = {failure.clip_id for failure in shelf.failures}
    return Receipt(
        done=tuple(task.clip_id for task in shard.clips if task.clip_id not in failed),
        failures=tuple(shelf.failures),
        num_frames=shelf.num_frames,
        seconds=dict(shelf.seconds),
    )


def _extract_clip(task: ClipTask, models: Mapping[str, Extractor], shelf: _Shelf) -> None:
    uri = task.sources[0].uri
    try:
        with _timed(shelf, "decode"):
            video = DecodedVideo(uri)
    except VideoError as error:
        shelf.failures += failures_of(task, error, stage="decode")
        return
    shelf.num_frames += video.num_frames
    if not task.known:
        shelf.clips += [
            Clip(clip_id=task.clip_id, source=source, info=video.info) for source in task.sources
        ]
    for name in task.extractors:
        try:
            with _timed(shelf, name):
                embedding = _embed(models[name], video, uri)
        except VideoError as error:
            shelf.failures += failures_of(task, error, stage="extract", view=models[name].spec.name)
        else:
            shelf.embeddings[name].append((task.clip_id, embedding))


def _embed(model: Extractor, video: DecodedVideo, uri: str) -> Embedding:
    name = model.spec.extractor
    try:
        embedding = model.embed(video)
    except (RuntimeError, cv2.error) as error:  # what torch and OpenCV raise on a bad picture
        reason = " ".join(str(error).split())[:300]
        raise VideoError("extractor-error", f"{uri}: {name} failed ({reason})") from error
    if not np.isfinite(embedding.vector).all():
        raise VideoError("not-finite", f"{uri}: {name} gave values that are not finite")
    return embedding


@contextlib.contextmanager
def _timed(shelf: _Shelf, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        shelf.seconds[stage] += time.perf_counter() - started


def _commit(store: Store, number: int, models: Mapping[str, Extractor], shelf: _Shelf) -> None:
    """Clips first: an embedding never stands without its clip, whenever the power goes."""
    if shelf.clips:
        store.append_clips(shelf.clips, number=number)
    for name, rows in shelf.embeddings.items():
        clip_ids, embeddings = zip(*rows, strict=True)
        store.append(models[name].spec, clip_ids, embeddings, number=number, made_with=_versions())
    if shelf.failures:
        store.append_failures(shelf.failures, number=number)


@functools.cache
def _versions() -> dict[str, str]:
    """Versions of what an embedding went through, for the view's provenance."""
    return {module: _version(module) for module in ("kinestore", "av", "cv2", "timm", "torch")}


def _version(module: str) -> str:
    """The version of a module's distribution; OpenCV comes in several."""
    distributions = importlib.metadata.packages_distributions().get(module)
    return importlib.metadata.version(distributions[0]) if distributions else "not installed"


def failures_of(task: ClipTask, error: VideoError, *, stage: str, view: str = "") -> list[Failure]:
    """The ledger's rows for a clip that failed, one for each of its sources."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Failure(
            uri=source.uri,
            clip_id=task.clip_id,
            view=view,
            stage=stage,
            kind=error.kind,
            message=str(error),
            when=when,
            attempt=task.attempt,
        )
        for source in task.sources
    ]
