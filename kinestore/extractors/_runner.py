"""Where networks run, in what arithmetic, and how pictures get there.

Shape legend: B batch.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.extractors._base import Options
from kinestore.heads import choose_device, quicken

_LOG = logging.getLogger("kinestore")

Result = TypeVar("Result")

GPU_BATCH = 16
"""Clips in a forward pass on a GPU: a shard of the usual size."""


class Runner:
    """Runs a frozen network over batches of clips.

    A clip's result does not depend on its company, to the bit: every forward pass has the same
    number of clips, the last one's repeated where there are too few.

    Args:
        device: "auto", "cpu" or "cuda".
        elsewhere: Whether only the view is asked for here, and the GPU is another machine's.
        cpu_batch: Clips in a forward pass on a CPU.

    Attributes:
        device: Where it runs.
        batch: Clips in a forward pass.
        dtype: Of its matrix products and convolutions: bfloat16 on a GPU, whose tensor cores
            make it many times faster, and float32 on a CPU.
    """

    def __init__(self, device: str, *, elsewhere: bool = False, cpu_batch: int = 1) -> None:
        gpu_elsewhere = elsewhere and device == "cuda"
        self.device = choose_device("auto" if gpu_elsewhere else device)
        on_gpu = gpu_elsewhere or self.device.type == "cuda"
        self.dtype = torch.bfloat16 if on_gpu else torch.float32
        self.batch = GPU_BATCH if on_gpu else cpu_batch
        self._halved = False

    @classmethod
    def of(cls, options: Options, *, cpu_batch: int = 1) -> Self:
        """As an extractor's options say."""
        return cls(options.device, elsewhere=options.elsewhere, cpu_batch=cpu_batch)

    @property
    def dtype_name(self) -> str:
        """As a view's specification has it, such as "float32"."""
        return str(self.dtype).removeprefix("torch.")

    def arithmetic(self) -> torch.autocast:
        """A block in which networks compute in `dtype`; sums and norms stay in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the layout and with the products that it likes."""
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
            elif isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)
        return quicken(network.to(self.device))

    def upload(self, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Clips of one shape as a batch on the device, uint8; the copy does not block."""
        batch = torch.from_numpy(np.stack(pixels))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)

    def __call__(
        self, forward: Callable[[Tensor], list[Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[Result]:
        """Run `forward` over clips of one shape: uint8, shape (B, ...), to one result a clip.

        Where a batch does not fit the GPU's memory, this and all later ones are halved, once.

        Raises:
            torch.OutOfMemoryError: If half a batch does not fit either.
        """
        try:
            return self._run(forward, pixels)
        except torch.OutOfMemoryError:
            if self._halved or self.batch < 2:
                raise
        too_many, self.batch, self._halved = self.batch, (self.batch + 1) // 2, True
        torch.cuda.empty_cache()
        _LOG.warning(
            "a batch of %d clips does not fit the GPU: going on with %d", too_many, self.batch
        )
        return self._run(forward, pixels)

    def _run(
        self, forward: Callable[[Tensor], list[Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[Result]:
        results: list[Result] = []
        for at in range(0, len(pixels), self.batch):
            some = pixels[at : at + self.batch]
            padding = [some[-1]] * (self.batch - len(some))
            results += self.at_once(forward, [*some, *padding])[: len(some)]
        return results

    @torch.inference_mode()
    def at_once(
        self, forward: Callable[[Tensor], list[Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[Result]:
        """Run `forward` over all that is given as one batch."""
        with self.arithmetic():
            return forward(self.upload(pixels))


def rows(features: Tensor) -> list[NDArray[np.float32]]:
    """One array a clip, float32, of a batch of features."""
    return list(features.float().cpu().numpy())
