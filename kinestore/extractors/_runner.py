"""The device and the precision in which networks run, over batches of clips.

Shape legend: B batch.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.extractors._base import ExtractorOptions
from kinestore.heads.support.device import choose_device

_LOG = logging.getLogger("kinestore")

_Result = TypeVar("_Result")

_GPU_BATCH = 16
"""Clips in a forward pass on a GPU, as many as a shard usually has."""


class Runner:
    """Runs a frozen network over batches of clips.

    A clip's result is bit-identical for any batch composition: every forward pass has the same
    number of clips, and the last clip is repeated where there are too few.

    Args:
        device: "auto", "cpu" or "cuda".
        spec_only: Whether only the specification is needed, and "cuda" is another machine's.
        cpu_batch: Clips in a forward pass on a CPU.

    Attributes:
        device: The device.
        batch: Number of clips in a forward pass.
        dtype: Precision of matrix products and convolutions: bfloat16 on a GPU, whose tensor cores
            make it many times faster, and float32 on a CPU.
    """

    def __init__(self, device: str, *, spec_only: bool = False, cpu_batch: int = 1) -> None:
        gpu_elsewhere = spec_only and device == "cuda"
        self.device = choose_device("auto" if gpu_elsewhere else device)
        on_gpu = gpu_elsewhere or self.device.type == "cuda"
        self.dtype = torch.bfloat16 if on_gpu else torch.float32
        self.batch = _GPU_BATCH if on_gpu else cpu_batch
        self._halved = False

    @classmethod
    def of(cls, options: ExtractorOptions, *, cpu_batch: int = 1) -> Self:
        """Return the runner for an extractor's options."""
        return cls(options.device, spec_only=options.spec_only, cpu_batch=cpu_batch)

    @property
    def dtype_name(self) -> str:
        """Name of `dtype` in a view's specification, such as "float32"."""
        return str(self.dtype).removeprefix("torch.")

    def arithmetic(self) -> torch.autocast:
        """Return a context in which networks compute in `dtype`; sums and norms stay in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in its fastest memory layout."""
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
            elif isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)
        return network.to(self.device)

    def upload(self, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Copy clips of one shape to the device as a uint8 batch, without blocking."""
        batch = torch.from_numpy(np.stack(pixels))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)

    def __call__(
        self, forward: Callable[[Tensor], list[_Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[_Result]:
        """Run `forward` over clips of one shape, uint8, (B, ...), and return one result a clip.

        If a batch does not fit the GPU's memory, this and all later ones are halved, once.

        Raises:
            torch.OutOfMemoryError: If half a batch does not fit either.
        """
        try:
            return self._run(forward, pixels)
        except torch.OutOfMemoryError:
            if self._halved or self.batch < 2:
                raise
        before, self.batch, self._halved = self.batch, (self.batch + 1) // 2, True
        torch.cuda.empty_cache()
        _LOG.warning(
            "a batch of %d clips does not fit the GPU: continuing with %d", before, self.batch
        )
        return self._run(forward, pixels)

    def _run(
        self, forward: Callable[[Tensor], list[_Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[_Result]:
        results: list[_Result] = []
        for at in range(0, len(pixels), self.batch):
            some = pixels[at : at + self.batch]
            padding = [some[-1]] * (self.batch - len(some))
            results += self.at_once(forward, [*some, *padding])[: len(some)]
        return results

    @torch.inference_mode()
    def at_once(
        self, forward: Callable[[Tensor], list[_Result]], pixels: Sequence[NDArray[np.uint8]]
    ) -> list[_Result]:
        """Run `forward` over all clips as one batch."""
        with self.arithmetic():
            return forward(self.upload(pixels))


def rows(features: Tensor) -> list[NDArray[np.float32]]:
    """Return one float32 array for each clip of a batch of features."""
    return list(features.float().cpu().numpy())
