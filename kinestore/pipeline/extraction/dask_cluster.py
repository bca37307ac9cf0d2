"""Shards run on Dask: on workers of this machine, or of a cluster that runs already."""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from kinestore.pipeline.extraction.dask_worker import EmbeddingProcess, run_shard
from kinestore.pipeline.extraction.tasks import GPU, Assignment, Shard, ShardResult, failure_rows
from kinestore.pipeline.progress import Progress
from kinestore.pipeline.signals import interrupts_held
from kinestore.pipeline.system_errors import describe
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import Store, StoreError, UsageError

WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    **{f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")},
}
"""Environment variables of a worker's C libraries. The first two let glibc reuse the memory of
activations: Dask's own setting returns it after each layer, and page faults would take half of a
worker's time."""

CONNECT_TIMEOUT_S = 20


@contextlib.contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start worker processes on this machine, and end them with the block."""
    with contextlib.ExitStack() as stack:
        with interrupts_held():
            stack.enter_context(
                dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT})
            )
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,  # users get one sentence and recorded failures
                )
            )
            client = stack.enter_context(Client(cluster))
        try:
            yield client
        finally:
            with interrupts_held():
                stack.close()


@contextlib.contextmanager
def running_cluster(scheduler: str) -> Iterator[Client]:
    """Connect to the workers of a cluster that is running, and leave it running.

    Raises:
        UsageError: If no scheduler answers at the address, or it has no workers.
    """
    try:
        client = Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise UsageError(f"scheduler={scheduler!r}: no Dask scheduler answers ({error})") from error
    with client:
        if not num_workers(client):
            raise UsageError(f"scheduler={scheduler!r}: has no workers; start some")
        yield client


def num_workers(client: Client) -> int:
    """Return the number of connected workers."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def has_gpu_workers(client: Client) -> bool:
    """Return whether some worker has the resource `GPU`: then only those are used."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(GPU in worker["resources"] for worker in workers)


def run_shards(
    client: Client,
    shards: Sequence[Shard],
    target: Store,
    assignment: Assignment,
    *,
    progress: Progress,
) -> Iterator[ShardResult]:
    """Run the shards and yield their results in the order of finishing.

    Raises:
        StoreError: If the store cannot be written.
    """
    total = sum(len(shard.clips) for shard in shards)
    progress("extracting", 0, total)
    # A unique name: two jobs may share a cluster.
    process = EmbeddingProcess(assignment, name=f"kinestore-{uuid.uuid4().hex}")
    needs = {GPU: 1} if assignment.on_gpu_workers else None
    done = 0
    client.register_plugin(process)
    futures: dict[Future[ShardResult], Shard] = {
        client.submit(run_shard, shard, process.name, pure=False, resources=needs): shard
        for shard in shards
    }
    try:
        for future in as_completed(futures):
            shard = futures[future]
            yield _result(future, shard, target)
            done += len(shard.clips)
            progress("extracting", done, total)
    finally:  # a cluster that keeps running must not keep the child processes of this job
        client.cancel(list(futures))
        client.unregister_worker_plugin(process.name)


def _result(future: "Future[ShardResult]", shard: Shard, target: Store) -> ShardResult:
    try:
        result: ShardResult = future.result()
    except OSError as error:
        raise StoreError(
            f"{describe(error, target.address)}; then run the same command again, which resumes "
            "the job"
        ) from error
    except KilledWorker:
        failures = []
        for task in shard.clips:
            message = f"{task.sources[0].uri}: was in a shard whose worker died again and again"
            killed = VideoError("killed-worker", message)
            failures += failure_rows(task, killed, stage="worker")
        target.append_failures(failures, number=shard.number)
        return ShardResult(done=(), failures=tuple(failures), seconds={})
    return result
