"""Code that runs inside a Dask worker: its child process, and the shards that it extracts."""

import os
from dataclasses import replace

from distributed import Worker, WorkerPlugin, get_worker

from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.supervisor import Supervisor
from kinestore.pipeline.extraction.tasks import GPU, Assignment, OutputSpec, Shard, ShardResult
from kinestore.store import Store

MAX_DECODERS = 16

MEMORY_SHARE = 0.9
"""Fraction of a worker's memory limit that its child process may take."""


class EmbeddingProcess(WorkerPlugin):
    """Gives each worker one child process, whose extractors are loaded once and not per task.

    Attributes:
        store: The store to fill, once the worker has started.
        specs: Specification of each output, by name.
        supervisor: Supervisor of the child process, once the worker has started.
        num_decoders: Decoding threads of the child process: 1 where the worker computes on a CPU.
        name: Name of the plugin, unique to the job.
    """

    def __init__(self, assignment: Assignment, *, name: str) -> None:
        self.name = name
        self.store: Store | None = None
        self.specs: dict[str, OutputSpec] = {n: o.spec for n, o in assignment.outputs.items()}
        self.supervisor: Supervisor | None = None
        self.num_decoders = 1
        self._assignment = assignment

    def setup(self, worker: Worker) -> None:
        """Start the child process."""
        job = self._assignment
        if job.on_gpu_workers and GPU not in worker.state.total_resources:
            return
        self.store = Store(job.store)
        if job.on_gpu_workers or job.gpus:
            self.num_decoders = _decoders_per_gpu(len(job.gpus))
        memory_limit = worker.memory_manager.memory_limit
        self.supervisor = Supervisor(
            job.outputs,
            timeout_s=job.clip_timeout_s,
            memory_bytes=int(MEMORY_SHARE * memory_limit) if memory_limit else None,
            gpu=job.gpus[worker.name % len(job.gpus)] if job.gpus else None,
            num_decoders=self.num_decoders,
        )
        self.supervisor.start()

    def teardown(self, worker: Worker) -> None:
        """End the child process."""
        if self.supervisor is not None:
            self.supervisor.close()


def run_shard(shard: Shard, plugin_name: str) -> ShardResult:
    """Extract and commit a shard, inside a Dask worker that has the plugin."""
    plugin = get_worker().plugins[plugin_name]
    if (
        not isinstance(plugin, EmbeddingProcess)
        or plugin.supervisor is None
        or plugin.store is None
    ):
        raise TypeError(f"worker plugin {plugin_name!r}: has not been set up")
    result = extract_shard(plugin.store, shard, plugin.specs, plugin.supervisor.embed)
    return replace(result, num_decoders=plugin.num_decoders)


def _decoders_per_gpu(num_gpus: int) -> int:
    """Return the decoding threads of one GPU: its share of the cores that this process may use."""
    return max(1, min(MAX_DECODERS, len(os.sched_getaffinity(0)) // max(1, num_gpus)))
