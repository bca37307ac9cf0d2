"""Loading of untrusted weights: no pickle runs, and every key must fit."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

StateDict = Mapping[str, Tensor]

_Network = TypeVar("_Network", bound=nn.Module)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex; an unchanged file is read once."""
    status = path.stat()
    return _sha256(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _sha256(path: Path, mtime_ns: int, size_bytes: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_state_dict(path: Path) -> StateDict:
    """Read a file of named tensors, as float32.

    Raises:
        UsageError: If it is missing or holds anything but named tensors.
    """
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(path).items()
    }


def load_frozen(
    model: _Network, path: Path, *, rename: Callable[[StateDict, StateDict], StateDict]
) -> _Network:
    """Load weights into a model, every key and shape fitting, and freeze it for inference.

    Args:
        model: The architecture.
        path: The file of weights.
        rename: Takes the file's tensors and the model's, and returns the file's under the model's
            keys.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    load_into(model, read_state_dict(path), path, rename=rename)
    return model.eval().requires_grad_(False)


def load_into(
    model: nn.Module,
    state: StateDict,
    path: Path,
    *,
    rename: Callable[[StateDict, StateDict], StateDict],
) -> None:
    """Load the tensors of a file into a model, which may be on the meta device.

    Raises:
        UsageError: If a key is missing, left over, of another shape, or no floating-point numbers
            where the model has them.
    """
    wanted = model.state_dict()
    try:
        given = rename(state, wanted)
        _check_types(given, wanted, path)
        # Assigned, not copied: tensors of a safetensors file stay memory-mapped, and worker
        # processes share them.
        model.load_state_dict(given, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"weights {path}: do not fit the network ({reason})") from error


def _check_types(given: StateDict, wanted: StateDict, path: Path) -> None:
    """Refuse complex and integer tensors for floating-point ones: torch would assign them."""
    for name in sorted(given.keys() & wanted.keys()):
        if wanted[name].is_floating_point() and not given[name].is_floating_point():
            raise UsageError(
                f"weights {path}: {name[:80]!r} is of type {given[name].dtype}, where the network "
                "has floating-point numbers; give weights that are neither quantized nor complex"
            )
