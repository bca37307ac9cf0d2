"""The device that networks run on."""

import torch

from kinestore.store import UsageError


def choose_device(device: str) -> torch.device:
    """Return the torch device for "auto", "cpu" or "cuda".

    Raises:
        UsageError: If the value is another, or torch finds no GPU for "cuda".
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device={device!r}: must be auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("device='cuda': torch finds no usable GPU here; use cpu or auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")
