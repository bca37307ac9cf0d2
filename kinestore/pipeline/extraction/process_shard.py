"""Processing of a shard in a worker: embed each clip, then commit the shard's parts."""

import functools
import importlib.metadata
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from numpy import uint8
from numpy.typing import NDArray

from kinestore.pipeline.extraction.ipc import ClipOutcome, ClipRequest
from kinestore.pipeline.extraction.tasks import (
    ClipTask,
    OutputSpec,
    Shard,
    ShardResult,
    failure_rows,
)
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import Clip, Embedding, Failure, FramesSpec, Store, ViewSpec

PROCESS_FAILURES = frozenset({"killed-worker", "out-of-memory", "timeout"})
"""Kinds of failure that cost the child process."""

CHANGING = "changing"
"""Kind of failure of a file that no longer has the bytes that were hashed."""

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
"""Modules whose versions are stored with a view."""

Embed = Callable[[Sequence[ClipRequest]], Sequence[ClipOutcome]]
"""Embeds clips: a result or an error for each request, in the same order."""


@dataclass(eq=False)
class _ShardRows:
    """Rows and counts of a shard that are not committed yet."""

    clips: list[Clip] = field(default_factory=list)
    embeddings: dict[str, dict[str, Embedding]] = field(default_factory=lambda: defaultdict(dict))
    frames: dict[str, dict[str, NDArray[uint8]]] = field(default_factory=lambda: defaultdict(dict))
    failures: list[Failure] = field(default_factory=list)
    num_frames: int = 0
    num_warnings: int = 0
    frames_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def extract_shard(
    store: Store, shard: Shard, specs: Mapping[str, OutputSpec], embed: Embed
) -> ShardResult:
    """Have each clip embedded and commit all results.

    A clip that fails becomes a recorded failure; the rest of the shard continues. Outputs that
    another job has committed since this job was planned are skipped.
    """
    rows = _ShardRows()
    stored = {name: store.clips_with(spec) for name, spec in specs.items()}
    tasks = [t for task in shard.clips if (t := _still_missing(task, stored)) is not None]
    left = tasks
    while left:
        requests = [ClipRequest(t.sources[0].uri, t.outputs, t.clip_id) for t in left]
        outcomes = list(zip(left, embed(requests), strict=True))
        left = [rest for task, outcome in outcomes if (rest := _without_changed(task, outcome))]
        for task, outcome in outcomes:
            _add(rows, task, outcome, specs)
    started = time.perf_counter()
    _commit(store, shard.number, specs, rows)
    rows.seconds["commit"] = time.perf_counter() - started
    failed = {failure.clip_id for failure in rows.failures}
    return ShardResult(
        done=tuple(task.clip_id for task in tasks if task.clip_id not in failed),
        failures=tuple(rows.failures),
        num_frames=rows.num_frames,
        num_warnings=rows.num_warnings,
        seconds=dict(rows.seconds),
        frames_bytes=rows.frames_bytes,
    )


def _still_missing(task: ClipTask, stored: Mapping[str, Set[str]]) -> ClipTask | None:
    """Return the task without outputs that are stored by now, or None if nothing is left."""
    missing = tuple(name for name in task.outputs if task.clip_id not in stored[name])
    if task.outputs and not missing:
        return None
    return replace(task, outputs=missing)


def _without_changed(task: ClipTask, outcome: ClipOutcome) -> ClipTask | None:
    """Return the task of the other files with a clip's bytes, if the first has changed."""
    changed = isinstance(outcome, VideoError) and outcome.kind == CHANGING
    return replace(task, sources=task.sources[1:]) if changed and task.sources[1:] else None


def _add(
    rows: _ShardRows, task: ClipTask, outcome: ClipOutcome, specs: Mapping[str, OutputSpec]
) -> None:
    if isinstance(outcome, VideoError):
        if outcome.kind == CHANGING:  # this file alone; the others are read instead
            task = replace(task, sources=task.sources[:1])
        stage = "worker" if outcome.kind in PROCESS_FAILURES else "decode"
        rows.failures += failure_rows(task, outcome, stage=stage)
        return
    rows.num_frames += outcome.info.num_frames
    rows.num_warnings += outcome.info.warning is not None
    if not task.known:
        rows.clips += [
            Clip(clip_id=task.clip_id, source=source, info=outcome.info) for source in task.sources
        ]
    for name, embedding in outcome.embeddings.items():
        rows.embeddings[name][task.clip_id] = embedding
    for name, frames in outcome.frames.items():
        rows.frames[name][task.clip_id] = frames
        rows.frames_bytes += frames.nbytes
    for name, error in outcome.errors.items():
        rows.failures += failure_rows(task, error, stage="extract", view=specs[name].name)
    for stage, seconds in outcome.seconds.items():
        rows.seconds[stage] += seconds


def _commit(store: Store, number: int, specs: Mapping[str, OutputSpec], rows: _ShardRows) -> None:
    """Write the parts, clips first: no output is ever stored without its clip's row."""
    if rows.clips:
        store.append_clips(rows.clips, number=number)
    for name, spec in specs.items():
        if isinstance(spec, ViewSpec) and (embeddings := rows.embeddings[name]):
            ids, vectors = list(embeddings), list(embeddings.values())
            store.append(spec, ids, vectors, number=number, made_with=_versions())
        elif isinstance(spec, FramesSpec) and (frames := rows.frames[name]):
            ids, clips = list(frames), list(frames.values())
            store.append_frames(spec, ids, clips, number=number, made_with=_versions())
    if rows.failures:
        store.append_failures(rows.failures, number=number)


@functools.cache
def _versions() -> dict[str, str]:
    """Return the versions of the libraries that an embedding depends on, for its provenance."""
    distributions = importlib.metadata.packages_distributions()  # OpenCV comes in several
    return {
        module: importlib.metadata.version(distributions[module][0])
        if module in distributions
        else "not installed"
        for module in MADE_WITH
    }
