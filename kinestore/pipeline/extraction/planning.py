"""What an extraction job has to do: which inputs there are and what the store lacks of them."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from kinestore.pipeline.extraction.process_shard import ClipTask, Shard, Spec, failures_of
from kinestore.pipeline.progress import Progress
from kinestore.pipeline.video.decoded_video import VideoError
from kinestore.pipeline.video.find_videos import identify
from kinestore.store import MADE_GOOD, Clip, Failure, FramesSpec, Source, Store, VideoInfo
from kinestore.store.schema import CLIPS

SHARDS = (16, 1000)
"""A small job comes in enough shards to keep several workers busy to the end, and a large one in no
more files than this for each view."""
SHARD_SIZES = (4, 16, 256)
"""Clips that are committed together: at the least, as a rule, and at the most. That is what a crash
can cost a worker."""
SHARD_BYTES = 128 << 20
"""Of frames that are committed together: what a worker holds of them in memory. A clip that has
more is a shard of its own."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Sources by identity, in the manifest's order, and the ones that have none."""

    clips: dict[str, list[Source]]
    failures: list[Failure]


def identify_all(sources: Sequence[Source], target: Store, progress: Progress) -> Inputs:
    """Hash every input; what cannot be read becomes a failure."""
    attempts = {failure.uri: failure.attempt for failure in target.failures()}
    clips: dict[str, list[Source]] = defaultdict(list)
    failures = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, (source, found) in enumerate(
            zip(sources, pool.map(_identify, sources), strict=True), start=1
        ):
            if isinstance(found, VideoError):
                task = ClipTask(clip_id="", sources=(source,), extractors=(), known=False)
                task = replace(task, attempt=attempts.get(source.uri, 0) + 1)
                failures += failures_of(task, found, stage="read")
            else:
                clips[found].append(source)
            progress("hashing", done, len(sources))
    return Inputs(clips=dict(clips), failures=failures)


def _identify(source: Source) -> str | VideoError:
    try:
        return identify(source.uri)
    except VideoError as error:
        return error


def plan(
    inputs: Inputs, target: Store, specs: Mapping[str, Spec], *, retry_failed: bool
) -> list[Shard]:
    """Cut the clips into shards and keep of each what the store lacks.

    Which shard a clip is in depends on the inputs and on what is asked for alone: a job that goes
    on after a crash commits the parts that it would have committed undisturbed.
    """
    rows_of = present(target, specs)
    known = set(target.clips().column("clip_id").to_pylist())
    failed: dict[str, dict[str, int]] = defaultdict(dict)
    for failure in target.failures():
        failed[failure.clip_id][failure.view] = failure.attempt
    kept = [math.prod(s.shape) for s in specs.values() if isinstance(s, FramesSpec)]
    base, size = target.next_number(), shard_size(len(inputs.clips), clip_bytes=sum(kept))
    shards = []
    clips = list(inputs.clips.items())
    for index, begin in enumerate(range(0, len(clips), size)):
        tasks = []
        for clip_id, same in clips[begin : begin + size]:
            gave_up = failed.get(clip_id, {})
            wanted = tuple(name for name in specs if clip_id not in rows_of[name])
            if gave_up and not retry_failed:
                wanted = tuple(n for n in wanted if not {"", specs[n].name} & gave_up.keys())
            if wanted or (clip_id not in known and not gave_up):
                task = ClipTask(
                    clip_id=clip_id,
                    sources=tuple(same),
                    extractors=wanted,
                    known=clip_id in known,
                    attempt=max(gave_up.values(), default=0) + 1,
                )
                tasks.append(task)
        if tasks:
            shards.append(Shard(number=base + index, clips=tuple(tasks)))
    return shards


def shard_size(num_clips: int, *, clip_bytes: int = 0) -> int:
    """Clips in a shard of a job of so many, of each of which so many bytes of frames are kept."""
    (some, many), (smallest, usual, largest) = SHARDS, SHARD_SIZES
    if num_clips <= many * usual:
        size = min(max(math.ceil(num_clips / some), smallest), usual)
    else:
        size = min(math.ceil(num_clips / many), largest)
    return min(size, max(1, SHARD_BYTES // clip_bytes)) if clip_bytes else size


def present(target: Store, specs: Mapping[str, Spec]) -> dict[str, Set[str]]:
    """The clips that the store has of each kind, by name."""
    return {name: target.clips_with(spec) for name, spec in specs.items()}


def lacking(inputs: Inputs, target: Store, specs: Mapping[str, Spec]) -> set[str]:
    """The clips of this job that some kind lacks."""
    rows_of = present(target, specs)
    return {clip for clip in inputs.clips if any(clip not in rows for rows in rows_of.values())}


def record_changed_sources(inputs: Inputs, target: Store) -> None:
    """A known clip under a new path, label, group or split gets a new row, with no decoding."""
    rows = target.clips().to_pylist()
    by_uri = {row["uri"]: row for row in rows}
    by_clip = {row["clip_id"]: row for row in rows}
    changed = [
        Clip(clip_id=clip_id, source=source, info=_info(by_clip[clip_id]))
        for clip_id, same in inputs.clips.items()
        if clip_id in by_clip
        for source in same
        if not _is_recorded(source, clip_id, by_uri.get(source.uri))
    ]
    if changed:
        target.append_clips(changed)


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


def settle_ledger(inputs: Inputs, target: Store, specs: Mapping[str, Spec]) -> None:
    """Take back the failures of this job's inputs that hold no longer."""
    rows_of = {specs[name].name: rows for name, rows in present(target, specs).items()}
    complete = inputs.clips.keys() - lacking(inputs, target, specs)
    clip_of = {source.uri: clip for clip, same in inputs.clips.items() for source in same}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    good = [
        replace(failure, kind=MADE_GOOD, message="", when=when)
        for failure in target.failures()
        if clip_of.get(failure.uri) in (rows_of.get(failure.view, ()) if failure.view else complete)
    ]
    if good:
        target.append_failures(good)
