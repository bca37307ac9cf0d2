"""Code that runs inside a Dask worker: its child process, and the shards that it extracts."""

import functools
import os
from collections.abc import Hashable
from dataclasses import replace

from distributed import Reschedule, Worker, WorkerPlugin, get_worker
from distributed.utils import sync

from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.supervisor import Supervisor, SupervisorClosed
from kinestore.pipeline.extraction.tasks import Assignment, Shard, ShardResult
from kinestore.store import Store

MAX_DECODERS = 16

MEMORY_SHARE = 0.9
"""Fraction of a worker's memory limit that its child process may take."""

GONE = frozenset({"cancelled", "released", "forgotten"})
"""States of a task whose result nobody waits for."""


class EmbeddingProcess(WorkerPlugin):
    """A job's child process in one worker, whose extractors are loaded once and not per task.

    It starts with the job's first shard here. It ends as soon as Dask drops all shards of the job
    from this worker: when the job is done or stopped, and also when its client was killed.

    Args:
        assignment: The job's.
        job: Name of the job, with which the keys of its shards begin.
        worker: The Dask worker.

    Attributes:
        supervisor: Supervisor of the child process.
        num_decoders: Decoding threads of the child process: 1 where the worker computes on a CPU.
    """

    def __init__(self, assignment: Assignment, *, job: str, worker: Worker) -> None:
        gpus, memory_limit = assignment.gpus, worker.memory_manager.memory_limit
        on_gpu = assignment.on_gpu_workers or gpus
        self.name = job
        self.num_decoders = _decoders_per_gpu(len(gpus)) if on_gpu else 1
        self.supervisor = Supervisor(
            assignment.outputs,
            timeout_s=assignment.clip_timeout_s,
            memory_bytes=int(MEMORY_SHARE * memory_limit) if memory_limit else None,
            gpu=gpus[worker.name % len(gpus)] if gpus else None,
            num_decoders=self.num_decoders,
        )
        self._assignment = assignment
        self._worker = worker

    @functools.cached_property
    def store(self) -> Store:
        """The store to fill."""
        return Store(self._assignment.store)

    def transition(self, key: Hashable, start: str, finish: str, **_: object) -> None:
        """End the child process if Dask has just dropped the last shard of the job."""
        if finish in GONE and str(key).startswith(self.name):
            self._worker.loop.add_callback(self._end_if_unused)

    async def _end_if_unused(self) -> None:
        worker = self._worker
        tasks = worker.state.tasks.items()
        used = any(str(k).startswith(self.name) and t.state not in GONE for k, t in tasks)
        if not used and worker.plugins.get(self.name) is self:
            await worker.plugin_remove(self.name)

    def teardown(self, worker: Worker) -> None:
        """End the child process."""
        self.supervisor.close()


def run_shard(shard: Shard, assignment: Assignment, job: str) -> ShardResult:
    """Extract and commit a shard, inside a Dask worker."""
    worker = get_worker()
    process: EmbeddingProcess = sync(worker.loop, _process_of, worker, assignment, job)
    specs = {name: output.spec for name, output in assignment.outputs.items()}
    try:
        result = extract_shard(process.store, shard, specs, process.supervisor.embed)
    except SupervisorClosed:
        raise Reschedule from None  # if Dask wants the shard again after all
    return replace(result, num_decoders=process.num_decoders)


async def _process_of(worker: Worker, assignment: Assignment, job: str) -> EmbeddingProcess:
    """Return the job's process in this worker; on the worker's event loop, so that it is one."""
    process = worker.plugins.get(job)
    if not isinstance(process, EmbeddingProcess):
        process = EmbeddingProcess(assignment, job=job, worker=worker)
        await worker.plugin_add(process, name=job)
    return process


def _decoders_per_gpu(num_gpus: int) -> int:
    """Return the decoding threads of one GPU: its share of the cores that this process may use."""
    return max(1, min(MAX_DECODERS, len(os.sched_getaffinity(0)) // max(1, num_gpus)))
