"""Which GPUs there are."""

import ctypes
import os
from pathlib import Path

ROCM = Path("/dev/kfd")
"""What AMD's driver shows where it has a GPU."""


def visible_gpus(device: str) -> list[str]:
    """The GPUs that "auto" or "cuda" may use, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu" or not has_driver():
        return []
    import torch  # takes seconds, and a third of a gigabyte

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def has_driver() -> bool:
    """Whether torch could find a GPU at all."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ROCM.exists() or os.name == "nt"
    return True
