"""One job in several processes, as `torchrun` starts them: each takes its share of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kinestore.heads import choose_device
from kinestore.pipeline.training.networks.malloc import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Those that train together.

    Attributes:
        rank: Number of this one; 0 alone writes.
        count: How many there are.
        device: What this one computes on.
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
        """Whether this is the one that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes, the same bits in each; the tensor itself is overwritten."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def agree(self, net: nn.Module) -> None:
        """Give every process the first one's buffers: of batch norm each has seen other clips."""
        if self.count > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes of `torchrun`, or be the only one; freed memory is kept.

    Args:
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; with several processes, each has
            the GPU of its number.

    Raises:
        UsageError: If the device is another, or not there.
    """
    chosen = choose_device(device)
    keep_freed_memory()
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
