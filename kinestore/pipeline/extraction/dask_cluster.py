"""Running shards on Dask: workers of this machine's, or of a cluster that runs already."""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from kinestore.pipeline.extraction.process_shard import (
    GPU,
    Assignment,
    EmbeddingProcess,
    Receipt,
    Shard,
    failures_of,
    run_shard,
)
from kinestore.pipeline.progress import Progress
from kinestore.pipeline.signals import interrupts_held
from kinestore.pipeline.video.reader import VideoError
from kinestore.store import Store, StoreError, UsageError

BEFORE_SPAWN = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    **{f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")},
}
"""What a worker's C libraries read as it starts. The first two let glibc reuse the memory of
activations: Dask's own setting hands it back after each layer, and half of a worker's time would
go into page faults."""


CONNECT_TIMEOUT_S = 20


@contextlib.contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Worker processes of this machine's, for as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        with interrupts_held():
            stack.enter_context(
                dask.config.set({"distributed.nanny.pre-spawn-environ": BEFORE_SPAWN})
            )
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,  # a person gets one sentence, and the ledger
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
    """The workers of a cluster that somebody else started and will end.

    Raises:
        UsageError: If nobody answers at the address, or there are no workers.
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
    """Workers that are there now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def has_gpu_workers(client: Client) -> bool:
    """Whether some worker says that it has a GPU of its own: then those alone are used."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(GPU in worker["resources"] for worker in workers)


def run_shards(
    client: Client,
    shards: Sequence[Shard],
    target: Store,
    assignment: Assignment,
    *,
    progress: Progress,
) -> Iterator[Receipt]:
    """Run the shards; receipts come in the order of finishing.

    Raises:
        StoreError: If the store cannot be written.
    """
    total = sum(len(shard.clips) for shard in shards)
    progress("extracting", 0, total)
    # A name of its own: two jobs may share a cluster.
    process = EmbeddingProcess(assignment, name=f"kinestore-{uuid.uuid4().hex}")
    needs = {GPU: 1} if assignment.on_gpu_workers else None
    done = 0
    client.register_plugin(process)
    futures: dict[Future[Receipt], Shard] = {
        client.submit(run_shard, shard, process.name, pure=False, resources=needs): shard
        for shard in shards
    }
    try:
        for future in as_completed(futures):
            shard = futures[future]
            yield _receipt(future, shard, target)
            done += len(shard.clips)
            progress("extracting", done, total)
    finally:  # a cluster that runs on must not keep the processes of a job that ended
        client.cancel(list(futures))
        client.unregister_worker_plugin(process.name)


def _receipt(future: "Future[Receipt]", shard: Shard, target: Store) -> Receipt:
    try:
        receipt: Receipt = future.result()
    except OSError as error:
        raise StoreError(
            f"{target.path}: cannot be written ({error.strerror or error}); make room and run the "
            "same command again, which goes on from there"
        ) from error
    except KilledWorker:
        failures = []
        for task in shard.clips:
            message = f"{task.sources[0].uri}: was in a shard whose worker died again and again"
            killed = VideoError("killed-worker", message)
            failures += failures_of(task, killed, stage="worker")
        target.append_failures(failures, number=shard.number)
        return Receipt(done=(), failures=tuple(failures), num_frames=0, num_warnings=0, seconds={})
    return receipt
