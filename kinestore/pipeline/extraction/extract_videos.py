"""The extraction job: find the videos, find what is missing, have Dask workers compute it.

Clips are divided into shards in the manifest's order. A shard is one task and, for each output, one
part of the store: it is committed whole or not at all, so that an interrupted job resumes.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinestore.extractors import visible_gpus
from kinestore.pipeline.extraction.conditions import check_extractors, check_writable
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.dask_cluster import (
    has_gpu_workers,
    num_workers,
    run_shards,
    running_cluster,
)
from kinestore.pipeline.extraction.local_cluster import local_workers
from kinestore.pipeline.extraction.outputs import Output, embedding_outputs, read_prompts
from kinestore.pipeline.extraction.part_numbers import job_identity, reserved_numbers
from kinestore.pipeline.extraction.planning import (
    changed_sources,
    identify_all,
    incomplete_clips,
    num_shards,
    plan,
    read_failures,
    record_late_sources,
    resolve_failures,
)
from kinestore.pipeline.extraction.relabeling import notes_on_relabeling
from kinestore.pipeline.extraction.result import ExtractionResult, summarize
from kinestore.pipeline.extraction.same_bytes import notes_on_same_bytes
from kinestore.pipeline.extraction.tasks import Assignment, OutputSpec, Shard, ShardResult
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.notes import tell
from kinestore.pipeline.video.clip_format import parse_clip_formats
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.split_files import mark_splits
from kinestore.progress import Progress, no_progress
from kinestore.store import Source, Store, UsageError
from kinestore.store.frames import require_local
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.storage import Storage
from kinestore.store.marker import STORE_MARKER

SUMMARY = "summary.json"
"""File in the store's folder with the result of the last job."""


def extract(
    videos: str | Path,
    *,
    store: str | Path,
    extractors: Sequence[str] = (),
    frames: Sequence[str] = (),
    workers: int | None = None,
    config: ExtractionConfig | None = None,
    progress: Progress | None = None,
) -> ExtractionResult:
    """Add the missing embeddings, and the missing clips of frames, to a store.

    Args:
        videos: A folder, a manifest or a video, as in `find_videos`.
        store: Folder of the store; made if absent.
        extractors: Names from `extractors.names()`, such as ["cnn-efficientnet-lite0", "motion"],
            with settings as in `read_extractor`, such as "r3d:sampling=random,frames=16".
        frames: Formats of clips of frames to store, as in `parse_clip_formats`, such as
            ["segments:8x5@256"].
        workers: Worker processes; None takes one for each GPU, or for each core where there is
            none. Workers share the GPUs.
        config: Further settings; None takes the defaults.
        progress: Called after each clip that is hashed and each shard that is extracted.

    Raises:
        UsageError: If an argument does not fit or there is nothing to extract.
        KinestoreError: If there are no weights on this machine and none can be downloaded.
        StoreError: If the store cannot be used.
    """
    started = time.perf_counter()
    config, progress = config or ExtractionConfig(), progress or no_progress
    if workers is not None and workers < 1:
        raise UsageError(f"workers={workers}: must be 1 or more")
    if config.scheduler is not None and workers is not None:
        raise UsageError(
            f"workers={workers}: the cluster at {config.scheduler} has its own; leave it out"
        )
    if not extractors and not frames:
        raise UsageError("extractors: name at least one, or frames to store")
    check_extractors(extractors)
    storage = open_storage(store)
    if storage.kind(STORE_MARKER) is None:
        check_writable(storage)
    found = find_videos(videos)
    if config.splits:
        found = mark_splits(found, config.splits)
    tell(found.notes)
    sources = found.sources[: config.limit]
    outputs = _outputs(extractors, frames, found.sources, storage=storage, config=config)
    specs: dict[str, OutputSpec] = {name: output.spec for name, output in outputs.items()}
    target = Store.create(store)

    inputs = identify_all(sources, target, progress)
    unlisted = read_failures(found.unreadable, target)
    inputs = replace(inputs, failures=[*unlisted, *inputs.failures], folders=found.folders)
    notes = list(notes_on_same_bytes(inputs.clips, target))
    tell(notes)
    shards = plan(inputs, target, specs, retry_failed=config.retry_failed, first_number=0)
    changed = changed_sources(inputs, target)
    relabeled = list(notes_on_relabeling(changed, target))
    tell(relabeled)
    if shards:  # a store that has everything may be read-only
        check_writable(storage)
    assignment = Assignment(
        store=target.storage.uri(), outputs=outputs, clip_timeout_s=config.clip_timeout_s
    )
    job = job_identity(inputs, (s.name for s in specs.values()), retry_failed=config.retry_failed)
    num_parts = num_shards(inputs, specs) + 1 if shards or changed else 0  # the last for late rows
    with reserved_numbers(target, job, num_parts) as numbers:
        if changed:
            target.append_clips(changed, number=numbers[0])
        results, count = _run(
            [replace(shard, number=numbers[shard.number]) for shard in shards],
            target,
            assignment,
            device=config.device if extractors else "cpu",  # frames alone need no GPU
            workers=workers,
            scheduler=config.scheduler,
            progress=progress,
        )
        late = record_late_sources(inputs, target, number=numbers[-1]) if numbers else []
    tell(late)
    if inputs.failures:
        target.append_failures(inputs.failures)
    resolve_failures(inputs, target, specs)

    computed = {clip for result in results for clip in result.done}
    incomplete = incomplete_clips(inputs, target, specs)
    num_sources = {clip: len(same) for clip, same in inputs.clips.items()}
    num_done = sum(num_sources[clip] for clip in computed - incomplete)
    num_failed = sum(num_sources[clip] for clip in incomplete) + len(inputs.failures)
    summary = summarize(
        target.storage.local_root or target.address,
        results,
        num_done=num_done,
        num_skipped=len(sources) + len(unlisted) - num_done - num_failed,
        num_failed=num_failed,
        seconds=time.perf_counter() - started,
        num_workers=count,
        specs=specs,
    )
    summary = replace(
        summary,
        notes=(*found.notes, *notes, *relabeled, *late),
        left_out=found.left_out,
        num_by_label=Counter(one for source in sources for one in source.labels or [""]),
        num_by_group=Counter(source.group or "" for source in sources),
        num_by_split=Counter(source.split or "" for source in sources),
    )
    _write_summary(target, summary)
    return summary


def _write_summary(target: Store, summary: ExtractionResult) -> None:
    """Write the store's summary; one of nothing may be left out where it cannot be written."""
    try:
        target.storage.write(SUMMARY, json_text(summary.to_json(), indent=2) + "\n")
    except OSError as error:
        if summary.num_done or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise


def _outputs(
    extractors: Sequence[str],
    frames: Sequence[str],
    found: Sequence[Source],
    *,
    storage: Storage,
    config: ExtractionConfig,
) -> dict[str, Output]:
    """Return the outputs by name: clips of frames, then embeddings."""
    formats = parse_clip_formats(frames)
    for one in formats.values():
        if one.sampling == "random":
            raise UsageError(
                f"frames={one.name!r}: every epoch draws other random clips, so that none is "
                f"kept; train with the input videos:{one.name} instead"
            )
    if formats:
        require_local(storage)
    embeddings = embedding_outputs(
        extractors,
        weights=config.weights,
        device=config.device,
        frame_choice=config.frame_choice,
        prompts=read_prompts(config.prompts, found),
        spec_only=config.scheduler is not None,
    )
    return {**formats, **embeddings}


def _run(
    shards: Sequence[Shard],
    target: Store,
    assignment: Assignment,
    *,
    device: str,
    workers: int | None,
    scheduler: str | None,
    progress: Progress,
) -> tuple[list[ShardResult], int]:
    """Return the results of all shards, and the number of workers."""
    if not shards:
        return [], 0
    if scheduler:
        with running_cluster(scheduler) as client:
            assignment = replace(assignment, on_gpu_workers=has_gpu_workers(client))
            results = list(run_shards(client, shards, target, assignment, progress=progress))
            return results, num_workers(client)
    gpus = visible_gpus(device)
    count = min(workers or len(gpus) or os.cpu_count() or 1, len(shards))
    with local_workers(count) as client:
        assignment = replace(assignment, gpus=gpus)
        return list(run_shards(client, shards, target, assignment, progress=progress)), count
