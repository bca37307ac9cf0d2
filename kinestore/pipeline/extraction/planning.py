"""Planning of an extraction job: identify its videos and find which outputs are missing."""

import math
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from kinestore.pipeline.extraction.tasks import ClipTask, OutputSpec, Shard, failure_rows
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.identity import identify
from kinestore.pipeline.video.segment import split_uri
from kinestore.progress import Progress
from kinestore.store import RESOLVED, Clip, Failure, FramesSpec, Source, Store, VideoInfo
from kinestore.store.io.validated_read import MAX_ATTEMPT
from kinestore.store.schema import CLIPS

SHARDS = (16, 1000)
"""Shards of a small job, enough to keep several workers busy to the end, and of a large one: each
shard is a file in each view."""
SHARD_SIZES = (4, 16, 256)
"""Clips in a shard: fewest, usual and most. A worker that crashes loses one shard."""
SHARD_BYTES = 128 << 20
"""Clips of frames in a shard, which a worker holds in memory; a larger clip is a shard alone."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a job.

    Attributes:
        clips: Sources by clip identity, in the manifest's order.
        failures: Failures of sources without identity, and of folders that could not be read.
        folders: URIs of folders that could be read.
    """

    clips: dict[str, list[Source]]
    failures: list[Failure]
    folders: Set[str] = frozenset()


def identify_all(sources: Sequence[Source], target: Store, progress: Progress) -> Inputs:
    """Hash every file once; a video that cannot be read becomes a failure.

    What interrupts this, such as Ctrl-C, interrupts the hashing of the largest file too.
    """
    clips: dict[str, list[Source]] = defaultdict(list)
    unreadable = {}
    hashing = _Hashing()
    pool = ThreadPoolExecutor(max_workers=4)
    try:
        parts = [split_uri(source.uri) for source in sources]
        by_file = {file: pool.submit(hashing.identify, file) for file in dict(parts)}
        for done, (source, (file, segment)) in enumerate(zip(sources, parts, strict=True)):
            future = by_file[file]
            while not _is_done(future):
                progress("hashing", done, len(sources), note=hashing.note())
            found = future.result()
            if isinstance(found, VideoError):
                unreadable[source.uri] = found
            else:
                clips[segment.clip_id(found) if segment else found].append(source)
            progress("hashing", done + 1, len(sources))
    finally:
        hashing.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return Inputs(clips=dict(clips), failures=read_failures(unreadable, target))


def read_failures(unreadable: Mapping[str, VideoError], target: Store) -> list[Failure]:
    """Return the failures of what could not be read, by its URI."""
    attempts = {failure.uri: failure.attempt for failure in target.failures()}
    failures = []
    for uri, error in unreadable.items():
        task = ClipTask(clip_id="", sources=(Source(uri=uri),), outputs=(), known=False)
        task = replace(task, attempt=_next(attempts.get(uri, 0)))
        failures += failure_rows(task, error, stage="read")
    return failures


class _Hashing:
    """The hashing of files in threads, which ends when `stopped` is set."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._num_bytes = 0

    def identify(self, file: str) -> str | VideoError:
        try:
            return identify(file, self._add)
        except VideoError as error:
            return error

    def note(self) -> str:
        """Return the amount that was hashed, in words."""
        return f"{self._num_bytes / 1e9:.1f} GB"

    def _add(self, num_bytes: int) -> None:
        if self.stopped.is_set():
            raise VideoError("stopped", "the job was interrupted")
        with self._lock:
            self._num_bytes += num_bytes


def _is_done(future: Future[str | VideoError]) -> bool:
    """Wait for a second, or until it is done."""
    wait([future], timeout=1)
    return future.done()


def _next(attempt: int) -> int:
    return min(attempt + 1, MAX_ATTEMPT)


def plan(
    inputs: Inputs,
    target: Store,
    specs: Mapping[str, OutputSpec],
    *,
    retry_failed: bool,
    first_number: int | None = None,
) -> list[Shard]:
    """Divide the clips into shards, and keep the clips with missing outputs.

    The shards are numbered from `first_number`; None begins above the store's parts.

    The shard of a clip depends only on the videos and on the requested outputs: a job that resumes
    after a crash commits the same parts as one that was never interrupted.
    """
    stored = _stored(target, specs)
    known = set(target.clips().column("clip_id").to_pylist())
    failed: dict[str, dict[str, int]] = defaultdict(dict)
    for failure in target.failures():
        failed[failure.clip_id][failure.view] = failure.attempt
    base = target.next_number() if first_number is None else first_number
    size = _size(inputs, specs)
    shards = []
    clips = list(inputs.clips.items())
    for index, begin in enumerate(range(0, len(clips), size)):
        tasks = []
        for clip_id, same in clips[begin : begin + size]:
            attempts = failed.get(clip_id, {})
            missing = tuple(name for name in specs if clip_id not in stored[name])
            if attempts and not retry_failed:
                missing = tuple(n for n in missing if not {"", specs[n].name} & attempts.keys())
            if missing or (clip_id not in known and not attempts):
                task = ClipTask(
                    clip_id=clip_id,
                    sources=tuple(same),
                    outputs=missing,
                    known=clip_id in known,
                    attempt=_next(max(attempts.values(), default=0)),
                )
                tasks.append(task)
        if tasks:
            shards.append(Shard(number=base + index, clips=tuple(tasks)))
    return shards


def num_shards(inputs: Inputs, specs: Mapping[str, OutputSpec]) -> int:
    """Return the number of shards of all clips, those included where nothing is missing."""
    return math.ceil(len(inputs.clips) / _size(inputs, specs))


def _size(inputs: Inputs, specs: Mapping[str, OutputSpec]) -> int:
    clip_bytes = sum(math.prod(s.shape) for s in specs.values() if isinstance(s, FramesSpec))
    return shard_size(len(inputs.clips), clip_bytes=clip_bytes)


def shard_size(num_clips: int, *, clip_bytes: int = 0) -> int:
    """Return the clips per shard of a job, where each clip has `clip_bytes` of stored frames."""
    (some, many), (smallest, usual, largest) = SHARDS, SHARD_SIZES
    if num_clips <= many * usual:
        size = min(max(math.ceil(num_clips / some), smallest), usual)
    else:
        size = min(math.ceil(num_clips / many), largest)
    return min(size, max(1, SHARD_BYTES // clip_bytes)) if clip_bytes else size


def _stored(target: Store, specs: Mapping[str, OutputSpec]) -> dict[str, Set[str]]:
    """Return the clips stored of each output, by name."""
    return {name: target.clips_with(spec) for name, spec in specs.items()}


def incomplete_clips(inputs: Inputs, target: Store, specs: Mapping[str, OutputSpec]) -> set[str]:
    """Return the clips of this job with a missing output."""
    stored = _stored(target, specs).values()
    return {clip for clip in inputs.clips if any(clip not in clips for clips in stored)}


def changed_sources(inputs: Inputs, target: Store) -> list[Clip]:
    """Return a row for each known clip with another path, label, group or split than is stored."""
    rows = target.clips().to_pylist()
    by_uri = {row["uri"]: row for row in rows}
    by_clip = {row["clip_id"]: row for row in rows}
    return [
        Clip(clip_id=clip_id, source=source, info=_info(by_clip[clip_id]))
        for clip_id, same in inputs.clips.items()
        if clip_id in by_clip
        for source in same
        if not _is_recorded(source, clip_id, by_uri.get(source.uri))
    ]


def record_late_sources(inputs: Inputs, target: Store, *, number: int) -> list[str]:
    """Add the rows of clips that another job has stored meanwhile, with the sources as given here.

    Returns:
        A note if a job that started later says something else of some sources: its rows stand.
    """
    late = changed_sources(inputs, target)
    if late:
        target.append_clips(late, number=number)
        late = changed_sources(inputs, target)
    if not late:
        return []
    return [
        f"{late[0].source.uri}: another job, which started later, gave {len(late)} of these videos "
        "other labels, groups or splits; its rows stand: to replace them, run this command again"
    ]


def _is_recorded(source: Source, clip_id: str, row: Mapping[str, Any] | None) -> bool:
    if row is None or row["clip_id"] != clip_id:
        return False
    extra = {n: v for n, v in row.items() if n not in CLIPS.names and v is not None}
    return (row["label"], row["group"], row["split"], extra) == (
        source.label,
        source.group,
        source.split,
        dict(source.extra),
    )


def _info(row: Mapping[str, Any]) -> VideoInfo:
    names = [field.name for field in fields(VideoInfo) if field.name != "size_bytes"]
    return VideoInfo(**{name: row[name] for name in names}, size_bytes=row["bytes"])


def resolve_failures(inputs: Inputs, target: Store, specs: Mapping[str, OutputSpec]) -> None:
    """Mark the recorded failures of this job's videos as resolved where nothing is missing now."""
    stored = {specs[name].name: clips for name, clips in _stored(target, specs).items()}
    complete = inputs.clips.keys() - incomplete_clips(inputs, target, specs)
    clip_of = {source.uri: clip for clip, same in inputs.clips.items() for source in same}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    resolved = [
        replace(failure, kind=RESOLVED, message="", when=when)
        for failure in target.failures()
        if failure.uri in inputs.folders
        or clip_of.get(failure.uri) in (stored.get(failure.view, ()) if failure.view else complete)
    ]
    if resolved:
        target.append_failures(resolved)
