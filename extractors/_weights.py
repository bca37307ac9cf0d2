"""Loading weights that nobody has vouched for: no pickle runs, and every key must fit."""

import hashlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from store import UsageError

StateDict = Mapping[str, Tensor]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_state_dict(path: Path) -> StateDict:
    """Read a safetensors file, or a state dict that torch saved (`weights_only`).

    Raises:
        UsageError: If it is absent or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"weights {path}: no such file") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"weights {path}: not a state dict of tensors ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"weights {path}: not a state dict of tensors")
    return state


def load_frozen(
    model: nn.Module, path: Path, *, rename: Callable[[StateDict, nn.Module], StateDict]
) -> nn.Module:
    """Load weights into a model, every key and shape fitting, and freeze it for inference.

    Args:
        model: The architecture.
        path: The file of weights.
        rename: From the file's layout of keys to the model's.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    try:
        model.load_state_dict(rename(read_state_dict(path), model), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"weights {path}: do not fit the network ({reason})") from error
    return model.eval().requires_grad_(False)
