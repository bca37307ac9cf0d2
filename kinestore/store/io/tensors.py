"""Reading untrusted files of named tensors: no pickle runs."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kinestore.store.errors import UsageError

_CAUSE = re.compile(r"WeightsUnpickler error: (.*?)(?:\. |\n|$)")
"""The part of torch's message that names what is no tensor."""

WRAPPERS = ("model_state", "state_dict")
"""Keys under which pytorchvideo, and others, save the state dict."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or a state dict that torch saved (`weights_only`).

    Raises:
        UsageError: If it is absent or holds anything but named tensors.
    """
    state: Any
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"weights {path}: no such file") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        cause = _CAUSE.search(str(error))
        reason = cause[1] if cause else str(error).partition("\n")[0]
        raise UsageError(f"weights {path}: not a state dict of tensors ({reason})") from error
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"weights {path}: not a state dict of tensors")
    return {str(name): tensor for name, tensor in state.items()}
