"""What one worker does: have each clip of a shard embedded, commit the shard's parts.

Only names travel to a worker and only a receipt travels back; frames never go through Dask.
"""

import functools
import importlib.metadata
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from kinestore.pipeline.extraction.ipc import Answer, Request
from kinestore.pipeline.extraction.outputs import Planned
from kinestore.pipeline.extraction.supervisor import Keeper
from kinestore.pipeline.video.reader import VideoError
from kinestore.store import Clip, Failure, FramesSpec, Source, Store, ViewSpec

Spec = ViewSpec | FramesSpec
"""What the store knows a kind of embedding, or of frames, by."""

ENDED = frozenset({"killed-worker", "out-of-memory", "timeout"})
"""Kinds of failure that cost the process that embeds."""

MADE_WITH = (
    "kinestore",
    "av",
    "cv2",
    "pytorchvideo",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)
"""Modules whose versions are kept with a view."""

MOST_DECODERS = 16

MEMORY_SHARE = 0.9
"""Of what Dask grants a worker, what the process that embeds may take."""


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """One clip that lacks something.

    Attributes:
        clip_id: Identity of its bytes.
        sources: The paths with those bytes; the first is read.
        extractors: Names of those whose embedding, or frames, are missing.
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
        done: Identities of the clips that this shard gave all that they lacked.
        failures: One for each source that has not, as they stand in the ledger.
        num_frames: Frames decoded.
        num_warnings: Clips that were decoded past some damage.
        seconds: Time by stage, as `pipeline.messages.ClipResult` has it, and "commit".
        decoders: Threads that decoded, fetched and prepared; the other stages have one.
        frames_bytes: Of the frames that were kept.
    """

    done: tuple[str, ...]
    failures: tuple[Failure, ...]
    num_frames: int
    num_warnings: int
    seconds: Mapping[str, float]
    decoders: int = 1
    frames_bytes: int = 0


GPU = "GPU"
"""The resource that a worker with a GPU of its own has: `dask worker --resources GPU=1`."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What every worker of a job is told.

    Attributes:
        store: The folder of what the job fills, the same for all workers.
        views: What is taken from each clip, by name.
        clip_timeout_s: Seconds that one clip may take.
        on_gpu_workers: Whether workers with the resource `GPU` alone work on it.
        gpus: GPUs that workers of this machine share out among them, by CUDA's names.
    """

    store: str
    views: Mapping[str, Planned]
    clip_timeout_s: float
    on_gpu_workers: bool = False
    gpus: Sequence[str] = ()


class EmbeddingProcess(WorkerPlugin):
    """Gives each worker a process with the extractors, loaded once and not once a task.

    Attributes:
        store: What the job fills, once the worker has started.
        specs: The view, or the frames, that each name fills.
        keeper: The process, once the worker has started.
        decoders: Threads of the process that decode: one beside a worker that computes on a core.
        name: Of the plugin, one a job.
    """

    def __init__(self, assignment: Assignment, *, name: str) -> None:
        self.name = name
        self.store: Store | None = None
        self.specs: dict[str, Spec] = {n: view.spec for n, view in assignment.views.items()}
        self.keeper: Keeper | None = None
        self.decoders = 1
        self._assignment = assignment

    def setup(self, worker: Worker) -> None:
        """Start the process."""
        told = self._assignment
        if told.on_gpu_workers and GPU not in worker.state.total_resources:
            return
        self.store = Store(told.store)
        if told.on_gpu_workers or told.gpus:
            self.decoders = decoders_beside_gpu(len(told.gpus))
        granted = worker.memory_manager.memory_limit
        self.keeper = Keeper(
            told.views,
            timeout_s=told.clip_timeout_s,
            memory_bytes=int(MEMORY_SHARE * granted) if granted else None,
            gpu=told.gpus[worker.name % len(told.gpus)] if told.gpus else None,
            decoders=self.decoders,
        )
        self.keeper.start()

    def teardown(self, worker: Worker) -> None:
        """End the process."""
        if self.keeper is not None:
            self.keeper.close()


def run_shard(shard: Shard, plugin_name: str) -> Receipt:
    """Embed and commit a shard, inside a Dask worker that has the plugin."""
    plugin = get_worker().plugins[plugin_name]
    if not isinstance(plugin, EmbeddingProcess) or plugin.keeper is None or plugin.store is None:
        raise TypeError(f"worker plugin {plugin_name!r}: has not been set up")
    receipt = extract_shard(plugin.store, shard, plugin.specs, plugin.keeper.embed)
    return replace(receipt, decoders=plugin.decoders)


def decoders_beside_gpu(gpus: int) -> int:
    """Threads that decode for one GPU: its share of the cores that this process may use."""
    return max(1, min(MOST_DECODERS, len(os.sched_getaffinity(0)) // max(1, gpus)))


@dataclass
class _Shelf:
    """What a shard has so far."""

    clips: list[Clip] = field(default_factory=list)
    taken: dict[str, list[tuple[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Failure] = field(default_factory=list)
    num_frames: int = 0
    num_warnings: int = 0
    frames_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


Embed = Callable[[Sequence[Request]], Sequence[Answer]]
"""Embeds clips, each to a result or an error, in the order of the requests."""


def extract_shard(store: Store, shard: Shard, specs: Mapping[str, Spec], embed: Embed) -> Receipt:
    """Have each clip embedded and commit all that came out.

    A clip that cannot be done becomes a failure; the rest of the shard goes on. What another job
    has committed since this one was planned is left out.
    """
    shelf = _Shelf()
    there = {name: store.clips_with(spec) for name, spec in specs.items()}
    tasks = [t for task in shard.clips if (t := _as_of_now(task, there)) is not None]
    requests = [Request(task.sources[0].uri, task.extractors) for task in tasks]
    for task, answer in zip(tasks, embed(requests), strict=True):
        _put(shelf, task, answer, specs)
    started = time.perf_counter()
    _commit(store, shard.number, specs, shelf)
    shelf.seconds["commit"] = time.perf_counter() - started
    failed = {failure.clip_id for failure in shelf.failures}
    return Receipt(
        done=tuple(task.clip_id for task in tasks if task.clip_id not in failed),
        failures=tuple(shelf.failures),
        num_frames=shelf.num_frames,
        num_warnings=shelf.num_warnings,
        seconds=dict(shelf.seconds),
        frames_bytes=shelf.frames_bytes,
    )


def _as_of_now(task: ClipTask, there: Mapping[str, Set[str]]) -> ClipTask | None:
    """What of a task is still to be done, where clips are there already, by name."""
    wanted = tuple(name for name in task.extractors if task.clip_id not in there[name])
    if task.extractors and not wanted:
        return None
    return replace(task, extractors=wanted)


def _put(shelf: _Shelf, task: ClipTask, result: Answer, specs: Mapping[str, Spec]) -> None:
    if isinstance(result, VideoError):
        stage = "worker" if result.kind in ENDED else "decode"
        shelf.failures += failures_of(task, result, stage=stage)
        return
    shelf.num_frames += result.info.num_frames
    shelf.num_warnings += result.info.warning is not None
    if not task.known:
        shelf.clips += [
            Clip(clip_id=task.clip_id, source=source, info=result.info) for source in task.sources
        ]
    for name, taken in (*result.embeddings.items(), *result.frames.items()):
        shelf.taken[name].append((task.clip_id, taken))
    shelf.frames_bytes += sum(frames.nbytes for frames in result.frames.values())
    for name, reason in result.errors.items():
        shelf.failures += failures_of(task, reason, stage="extract", view=specs[name].name)
    for stage, seconds in result.seconds.items():
        shelf.seconds[stage] += seconds


def _commit(store: Store, number: int, specs: Mapping[str, Spec], shelf: _Shelf) -> None:
    """Clips first: what was taken never stands without its clip, whenever the power goes."""
    if shelf.clips:
        store.append_clips(shelf.clips, number=number)
    for name, rows in shelf.taken.items():
        clip_ids, taken = zip(*rows, strict=True)
        spec = specs[name]
        if isinstance(spec, FramesSpec):
            store.append_frames(spec, clip_ids, taken, number=number, made_with=_versions())
        else:
            store.append(spec, clip_ids, taken, number=number, made_with=_versions())
    if shelf.failures:
        store.append_failures(shelf.failures, number=number)


@functools.cache
def _versions() -> dict[str, str]:
    """Versions of what an embedding went through, for the view's provenance."""
    distributions = importlib.metadata.packages_distributions()  # OpenCV comes in several
    return {
        module: importlib.metadata.version(distributions[module][0])
        if module in distributions
        else "not installed"
        for module in MADE_WITH
    }


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
