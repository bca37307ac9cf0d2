"""The extraction job: find the videos, see what is missing, have Dask workers fill it in.

Clips are cut into shards in the manifest's order. A shard is one task and, for each extractor,
one part: it is committed whole or not at all, so a job that was killed goes on where it stood.
"""

import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

import extractors as registry
from pipeline.decode import VideoError
from pipeline.plan import (
    Progress,
    identify_all,
    lacking,
    plan,
    record_changed_sources,
    settle_ledger,
)
from pipeline.videos import find_videos
from pipeline.worker import (
    EmbeddingProcess,
    Receipt,
    Shard,
    failures_of,
    ignore_interrupts,
    run_shard,
)
from store import Store, UsageError, ViewSpec

CLIP_TIMEOUT_S = 600.0

BEFORE_SPAWN = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    **{f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")},
}
"""What a worker's C libraries read as it starts. The first two let glibc reuse the memory of
activations: Dask's own setting hands it back after each layer, and half of a worker's time would
go into page faults."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an extraction job did; done + skipped + failed is the number of inputs.

    Attributes:
        done: Inputs whose missing embeddings were computed now.
        skipped: Inputs that had everything already.
        failed: Inputs that lack something now; the ledger says why.
        seconds: Wall time.
        num_frames: Frames decoded.
        warnings: Clips that were decoded past some damage; the column `warning` tells of it.
        stage_seconds: Time by stage, summed over workers.
        views: The views that the job filled, by extractor.
    """

    done: int
    skipped: int
    failed: int
    seconds: float
    num_frames: int
    warnings: int
    stage_seconds: Mapping[str, float]
    views: Mapping[str, str]


def extract(
    videos: str | Path,
    *,
    store: str | Path,
    extractors: Sequence[str],
    device: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    clip_timeout_s: float = CLIP_TIMEOUT_S,
    on_progress: Progress | None = None,
) -> Summary:
    """Fill a store with the embeddings that it lacks.

    Dask starts its workers as new processes: call this under `if __name__ == "__main__":`.

    Args:
        videos: A folder, a manifest or a video, as in `pipeline.videos.find_videos`.
        store: The store's folder; made if absent.
        extractors: Names from `extractors.names()`.
        device: "auto", "cpu" or "cuda".
        workers: Worker processes; None takes one for each core.
        limit: Take only the first so many inputs.
        retry_failed: Try inputs again whose same bytes failed before.
        clip_timeout_s: Seconds that one clip may take; then it fails and the job goes on.
        on_progress: Told of progress by stage.

    Raises:
        UsageError: If an argument does not fit or there is nothing to extract.
        StoreError: If the store cannot be used.
    """
    started = time.perf_counter()
    for name, value in (("workers", workers), ("limit", limit)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value}: must be 1 or more")
    if not 0 < clip_timeout_s < math.inf:
        raise UsageError(f"clip_timeout_s={clip_timeout_s}: must be above 0")
    if not extractors:
        raise UsageError("extractors: name at least one")
    sources = find_videos(videos)[:limit]
    # Made here too: a missing weight or a wrong name shows before any video is read.
    specs = {name: registry.create(name, device=device).spec for name in extractors}
    target = Store.create(store)
    tell = on_progress or (lambda stage, done, total: None)

    inputs = identify_all(sources, target, tell)
    shards = plan(inputs, target, specs, retry_failed=retry_failed)
    record_changed_sources(inputs, target)
    receipts = list(
        _run(
            shards,
            target,
            specs,
            device=device,
            workers=workers,
            clip_timeout_s=clip_timeout_s,
            tell=tell,
        )
    )
    if inputs.failures:
        target.append_failures(inputs.failures)
    settle_ledger(inputs, target, specs)

    computed = {clip for receipt in receipts for clip in receipt.done}
    without = lacking(inputs, target, specs)
    stages: dict[str, float] = defaultdict(float)
    for receipt in receipts:
        for stage, seconds in receipt.seconds.items():
            stages[stage] += seconds
    count = {clip: len(same) for clip, same in inputs.clips.items()}
    done = sum(count[clip] for clip in computed - without)
    failed = sum(count[clip] for clip in without) + len(inputs.failures)
    return Summary(
        done=done,
        skipped=len(sources) - done - failed,
        failed=failed,
        seconds=round(time.perf_counter() - started, 3),
        num_frames=sum(receipt.num_frames for receipt in receipts),
        warnings=sum(receipt.num_warnings for receipt in receipts),
        stage_seconds={stage: round(seconds, 3) for stage, seconds in sorted(stages.items())},
        views={name: spec.name for name, spec in specs.items()},
    )


def _run(
    shards: Sequence[Shard],
    target: Store,
    specs: Mapping[str, ViewSpec],
    *,
    device: str,
    workers: int | None,
    clip_timeout_s: float,
    tell: Progress,
) -> Iterator[Receipt]:
    """Run the shards on a local Dask cluster; receipts come in the order of finishing."""
    if not shards:
        return
    total = sum(len(shard.clips) for shard in shards)
    count = min(workers or os.cpu_count() or 1, len(shards))
    tell("extracting", 0, total)
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": BEFORE_SPAWN}),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(ignore_interrupts)
        client.register_plugin(
            EmbeddingProcess(specs, device=device, clip_timeout_s=clip_timeout_s)
        )
        where = str(target.path.resolve())
        futures: dict[Future[Receipt], Shard] = {
            client.submit(run_shard, where, shard, pure=False): shard for shard in shards
        }
        done = 0
        for future in as_completed(futures):
            shard = futures[future]
            yield _receipt(future, shard, target)
            done += len(shard.clips)
            tell("extracting", done, total)


def _receipt(future: "Future[Receipt]", shard: Shard, target: Store) -> Receipt:
    try:
        receipt: Receipt = future.result()
    except KilledWorker:
        failures = []
        for task in shard.clips:
            message = f"{task.sources[0].uri}: was in a shard whose worker died again and again"
            error = VideoError("killed-worker", message)
            failures += failures_of(task, error, stage="worker")
        target.append_failures(failures, number=shard.number)
        return Receipt(done=(), failures=tuple(failures), num_frames=0, num_warnings=0, seconds={})
    return receipt
