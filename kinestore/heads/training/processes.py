"""The processes of one training job, as `torchrun` starts them; each has a share of each batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kinestore.heads.support.device import choose_device
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: Number of this process; 0 alone writes.
        count: Number of processes.
        device: Device of this process.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def num_workers(self) -> int:
        """Threads that may read clips: a share of this machine's cores."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, (os.cpu_count() or 1) // here)

    @property
    def is_first(self) -> bool:
        """True in the process that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, the same bits in each; overwrites the tensor."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first: batch norm saw other clips in each."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)


ONE_PROCESS = Processes(rank=0, count=1, device=torch.device("cpu"))
"""A single process on the CPU."""


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the other processes of `torchrun`, or be the only one.

    Args:
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; with several processes, each has
            the GPU of its number.

    Raises:
        UsageError: If the device is another, or not there.
    """
    chosen = choose_device(device)
    if "RANK" not in os.environ:
        yield Processes(rank=0, count=1, device=chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size(), device=chosen)
    finally:
        dist.destroy_process_group()


@contextmanager
def sole_process(device: str, *, work: str, command: str) -> Iterator[Processes]:
    """Be the only process, for jobs that `torchrun` cannot share.

    Args:
        device: As in `join_processes`.
        work: What is done in one process, such as "clients are simulated", for the message.
        command: The job's command, for the message.

    Raises:
        UsageError: If `torchrun` started several processes, or as `join_processes`.
    """
    with join_processes(device) as processes:
        if processes.count > 1:
            raise UsageError(
                f"torchrun: {processes.count} processes, and {work} in one; start `{command}` "
                "without it"
            )
        yield processes
