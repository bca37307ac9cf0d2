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

from extractors._base import Options
from store import UsageError

_LOG = logging.getLogger("kinestore")

Result = TypeVar("Result")


def choose_device(device: str) -> torch.device:
    """Read "auto", "cpu" or "cuda".

    Raises:
        UsageError: If it is something else, or CUDA without a GPU that torch can use.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device={device!r}: must be auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("device='cuda': torch finds no usable GPU here; use cpu or auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")


class Runner:
    """Runs a frozen network over batches of clips.

    Args:
        device: "auto", "cpu" or "cuda".
        elsewhere: Whether only the view is asked for here, and the GPU is another machine's.

    Attributes:
        device: Where it runs.
        dtype: Of its matrix products and convolutions: bfloat16 on a GPU, whose tensor cores
            make it many times faster, and float32 on a CPU.
    """

    def __init__(self, device: str, *, elsewhere: bool = False) -> None:
        gpu_elsewhere = elsewhere and device == "cuda"
        self.device = choose_device("auto" if gpu_elsewhere else device)
        on_gpu = gpu_elsewhere or self.device.type == "cuda"
        self.dtype = torch.bfloat16 if on_gpu else torch.float32
        self._most: int | None = None

    @classmethod
    def of(cls, options: Options) -> Self:
        """As an extractor's options say."""
        return cls(options.device, elsewhere=options.elsewhere)

    @property
    def dtype_name(self) -> str:
        """As a view's specification has it, such as "float32"."""
        return str(self.dtype).removeprefix("torch.")

    def arithmetic(self) -> torch.autocast:
        """A block in which networks compute in `dtype`; sums and norms stay in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, channels last: convolutions are quicker so."""
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
            elif isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)
        return network.to(self.device)

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
        size = self._most or len(pixels)
        try:
            return self._run(forward, pixels, size)
        except torch.OutOfMemoryError:
            if self._most is not None or size < 2:
                raise
        self._most = (size + 1) // 2
        torch.cuda.empty_cache()
        _LOG.warning("a batch of %d clips does not fit the GPU: going on with %d", size, self._most)
        return self._run(forward, pixels, self._most)

    @torch.inference_mode()
    def _run(
        self,
        forward: Callable[[Tensor], list[Result]],
        pixels: Sequence[NDArray[np.uint8]],
        size: int,
    ) -> list[Result]:
        results: list[Result] = []
        with self.arithmetic():
            for at in range(0, len(pixels), size):
                results += forward(self.upload(pixels[at : at + size]))
        return results


def rows(features: Tensor) -> list[NDArray[np.float32]]:
    """One array a clip, float32, of a batch of features."""
    return list(features.float().cpu().numpy())
