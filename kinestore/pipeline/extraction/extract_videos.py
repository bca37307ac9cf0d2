"""The extraction job: find the videos, see what is missing, have Dask workers fill it in.

Clips are cut into shards in the manifest's order. A shard is one task and, for each extractor and
each kind of frames, one part: it is committed whole or not at all, so a job that was killed goes on
where it stood.
"""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from kinestore.extractors import FrameChoice, visible_gpus
from kinestore.pipeline.extraction.dask_cluster import (
    has_gpu_workers,
    local_workers,
    num_workers,
    run_shards,
    running_cluster,
)
from kinestore.pipeline.extraction.job_summary import Summary, summarise
from kinestore.pipeline.extraction.outputs import Planned, Weights, plan_views, read_prompts
from kinestore.pipeline.extraction.planning import (
    identify_all,
    lacking,
    plan,
    record_changed_sources,
    settle_ledger,
)
from kinestore.pipeline.extraction.process_shard import Assignment, Receipt, Shard, Spec
from kinestore.pipeline.progress import Progress, no_progress
from kinestore.pipeline.video.clip_format import read_frames
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.store import Store, UsageError
from kinestore.store.frames import refuse_remote
from kinestore.store.io.atomic import write_text
from kinestore.store.io.paths import as_path

CLIP_TIMEOUT_S = 600.0

SUMMARY = "summary.json"
"""In the store's folder: what the last job did."""


def extract(
    videos: str | Path,
    *,
    store: str | Path,
    extractors: Sequence[str] = (),
    kept_frames: Sequence[str] = (),
    weights: Weights | None = None,
    frames: FrameChoice | None = None,
    prompts: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    clip_timeout_s: float = CLIP_TIMEOUT_S,
    progress: Progress | None = None,
) -> Summary:
    """Fill a store with the embeddings, and the frames, that it lacks.

    Dask starts its workers as new processes: call this under `if __name__ == "__main__":`.

    Args:
        videos: A folder, a manifest or a video, as in `pipeline.videos.find_videos`.
        store: The store's folder; made if absent.
        extractors: Names from `extractors.names()`.
        kept_frames: What frames to keep as pictures, as in `pipeline.taken_frames.read_frames`,
            such as "segments:8x5@256".
        weights: A file or folder of weights in the place of the default ones: a path where there
            is one extractor, or paths by name.
        frames: Which frames of a clip are looked at; by default as each extractor does.
        prompts: A file with a text a line that `clip-text` chooses among; by default one is made
            from each label.
        device: "auto", "cpu" or "cuda".
        workers: Worker processes; None takes one for each GPU, or for each core where there is
            none. Workers share out the GPUs.
        scheduler: Address of a Dask scheduler whose workers see the same paths; None starts
            workers here.
        limit: Take only the first so many inputs.
        retry_failed: Try inputs again whose same bytes failed before.
        clip_timeout_s: Seconds that one clip may take; then it fails and the job goes on.
        progress: Called after each clip that is hashed and each shard that is extracted.

    Raises:
        UsageError: If an argument does not fit or there is nothing to extract.
        KinestoreError: If there are no weights here and none can be fetched.
        StoreError: If the store cannot be used.
    """
    started = time.perf_counter()
    for name, value in (("workers", workers), ("limit", limit)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value}: must be 1 or more")
    if not 0 < clip_timeout_s < math.inf:
        raise UsageError(f"clip_timeout_s={clip_timeout_s}: must be above 0")
    if scheduler is not None and workers is not None:
        raise UsageError(f"workers={workers}: the cluster at {scheduler} has its own; leave it out")
    if not extractors and not kept_frames:
        raise UsageError("extractors: name at least one, or frames to keep")
    taken = read_frames(kept_frames)
    if taken:
        refuse_remote(as_path(store))
    found = find_videos(videos)
    sources = found[:limit]
    views: dict[str, Planned] = {**taken}
    views |= plan_views(
        extractors,
        weights=weights,
        device=device,
        frames=frames,
        prompts=read_prompts(prompts, found),
        elsewhere=scheduler is not None,
    )
    specs: dict[str, Spec] = {name: view.spec for name, view in views.items()}
    target = Store.create(store)
    progress = progress or no_progress

    inputs = identify_all(sources, target, progress)
    shards = plan(inputs, target, specs, retry_failed=retry_failed)
    record_changed_sources(inputs, target)
    receipts, worker_count = _run(
        shards,
        target,
        Assignment(store=str(target.path.resolve()), views=views, clip_timeout_s=clip_timeout_s),
        device=device if extractors else "cpu",  # frames alone want no GPU
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    if inputs.failures:
        target.append_failures(inputs.failures)
    settle_ledger(inputs, target, specs)

    computed = {clip for receipt in receipts for clip in receipt.done}
    without = lacking(inputs, target, specs)
    count = {clip: len(same) for clip, same in inputs.clips.items()}
    done = sum(count[clip] for clip in computed - without)
    failed = sum(count[clip] for clip in without) + len(inputs.failures)
    summary = summarise(
        done=done,
        skipped=len(sources) - done - failed,
        failed=failed,
        seconds=time.perf_counter() - started,
        receipts=receipts,
        workers=worker_count,
        specs=specs,
    )
    write_text(target.path / SUMMARY, json.dumps(asdict(summary), indent=2) + "\n")
    return summary


def _run(
    shards: Sequence[Shard],
    target: Store,
    assignment: Assignment,
    *,
    device: str,
    workers: int | None,
    scheduler: str | None,
    progress: Progress,
) -> tuple[list[Receipt], int]:
    """What the workers say, and how many there were."""
    if not shards:
        return [], 0
    if scheduler:
        with running_cluster(scheduler) as client:
            assignment = replace(assignment, on_gpu_workers=has_gpu_workers(client))
            receipts = list(run_shards(client, shards, target, assignment, progress=progress))
            return receipts, num_workers(client)
    gpus = visible_gpus(device)
    count = min(workers or len(gpus) or os.cpu_count() or 1, len(shards))
    with local_workers(count) as client:
        assignment = replace(assignment, gpus=gpus)
        return list(run_shards(client, shards, target, assignment, progress=progress)), count
