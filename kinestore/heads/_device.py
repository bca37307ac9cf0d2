"""Where networks run."""

import torch

from kinestore.store import UsageError


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
