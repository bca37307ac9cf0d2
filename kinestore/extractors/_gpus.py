"""The GPUs of this machine."""

import ctypes
import os
from pathlib import Path

_ROCM = Path("/dev/kfd")
"""Device file of AMD's driver, where there is a GPU."""


def visible_gpus(device: str) -> list[str]:
    """Return the GPUs that "auto" or "cuda" may use, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu" or not has_driver():
        return []
    import torch  # takes seconds, and a third of a gigabyte

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def has_driver() -> bool:
    """Return whether torch could find a GPU at all."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return _ROCM.exists() or os.name == "nt"
    return True
