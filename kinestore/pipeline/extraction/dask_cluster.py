"""Shards run on Dask workers: of this process, or of a cluster that runs already."""

import contextlib
import queue
import threading
import uuid
from collections.abc import Iterator, Sequence

from distributed import Client, Future, KilledWorker, as_completed

from kinestore.pipeline.extraction.dask_worker import run_shard
from kinestore.pipeline.extraction.tasks import GPU, Assignment, Shard, ShardResult, failure_rows
from kinestore.pipeline.signals import interrupts_held
from kinestore.pipeline.system_errors import describe_error
from kinestore.pipeline.video.errors import VideoError
from kinestore.progress import Progress
from kinestore.store import Store, StoreError, UsageError

CONNECT_TIMEOUT_S = 20

MAX_REASON = 200
"""Characters of Dask's reason that are repeated to the user."""


@contextlib.contextmanager
def running_cluster(scheduler: str) -> Iterator[Client]:
    """Connect to the workers of a cluster that is running, and leave it running.

    Raises:
        UsageError: If no scheduler answers at the address, or it has no workers.
    """
    client = _connect(scheduler)
    with client:
        if not num_workers(client):
            raise UsageError(f"scheduler={scheduler!r}: has no workers; start some")
        yield client


def _connect(scheduler: str) -> Client:
    """Return a client of a scheduler; UsageError if none answers before the deadline.

    Dask's own deadline does not hold where something accepts the connection and says nothing: so
    Dask waits in a thread, which is left there then.
    """
    found: queue.Queue[Client | Exception] = queue.Queue()

    def connect() -> None:
        try:
            client: Client = _Client(scheduler, timeout=CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
            found.put(client)
        except Exception as error:  # of any kind: the other side may send what it likes
            found.put(error)

    with interrupts_held():
        threading.Thread(target=connect, name="kinestore-connect", daemon=True).start()
    try:
        answer = found.get(timeout=CONNECT_TIMEOUT_S + 1)
    except queue.Empty:
        answer = TimeoutError(f"nothing that it can read within {CONNECT_TIMEOUT_S} s")
    if isinstance(answer, (OSError, TypeError)):  # TypeError: of certificates that are missing
        reason = " ".join(str(answer).split())[:MAX_REASON] or type(answer).__name__
        raise UsageError(f"scheduler={scheduler!r}: no Dask scheduler answers ({reason})") from None
    if isinstance(answer, Exception):
        raise UsageError(
            f"scheduler={scheduler!r}: no Dask scheduler answers, but something else; name the "
            "address that `dask scheduler` prints"
        ) from None
    return answer


class _Client(Client):
    def __del__(self) -> None:
        """Leave a client that never connected: closing it waits, and prints a traceback."""


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
    job = f"kinestore-{uuid.uuid4().hex}"  # two jobs may share a cluster
    needs = {GPU: 1} if assignment.on_gpu_workers else None
    done = num_failed = 0
    shared = client.submit(_same, assignment, key=f"assignment-{job}")  # sent once to each worker
    futures: dict[Future[ShardResult], Shard] = {
        client.submit(
            run_shard, shard, shared, job, key=f"{job}-{shard.number}", resources=needs
        ): shard
        for shard in shards
    }
    try:
        for future in as_completed(futures):
            shard = futures[future]
            result = _result(future, shard, target)
            yield result
            done += len(shard.clips)
            num_failed += len({one.uri for one in result.failures})
            progress("extracting", done, total, f"{num_failed} failed" if num_failed else "")
    finally:  # workers end the child processes of a job once its tasks are gone
        client.cancel([shared, *futures])


def _same(assignment: Assignment) -> Assignment:
    return assignment


def _result(future: "Future[ShardResult]", shard: Shard, target: Store) -> ShardResult:
    try:
        result: ShardResult = future.result()
    except OSError as error:
        raise StoreError(
            f"{describe_error(error, target.address)}; then run the same command again, which "
            "resumes the job"
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
