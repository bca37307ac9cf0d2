"""Reading untrusted files of named tensors: no pickle runs, and no claim allocates memory."""

import json
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter

from kinestore.store.errors import UsageError

_CAUSE = re.compile(r"(?:WeightsUnpickler error: |(?=Trying to load ))(.*?)(?:\. |\.?\n|\.?$)")
"""The part of torch's message that names what is no tensor."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e]")

WRAPPERS = (
    "model_state",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "model_ema_state_dict",
)
"""Keys under which training scripts save the state dict, a running mean of it last."""

_OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS; run `git lfs pull` where it lies",
    b"<!doctype": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
}
"""First bytes of what lies about under the names of weights."""

_PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel and compiled modules put before every name."""

_MOST_NESTED = 4

_MOST_SHARED, _SMALL_BYTES = 4, 1 << 20
"""Times its size, and bytes besides, that the tensors of a file may take: some are saved twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorFile:
    """The named tensors of a file.

    Attributes:
        tensors: Tensors by plain name.
        taken: The key under which they were; "" for none.
        passed_over: Keys of further copies beside it, such as a running mean.
    """

    tensors: dict[str, Tensor]
    taken: str = ""
    passed_over: tuple[str, ...] = ()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of `read_tensor_file`."""
    return read_tensor_file(path).tensors


def read_tensor_file(path: Path) -> TensorFile:
    """Read a safetensors file, or a state dict that torch saved (`weights_only`).

    Raises:
        UsageError: If it is absent or holds anything but named tensors, whatever is wrong with it.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  # of a path with any characters
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"weights {path}: must be a file, and no folder, pipe or device")
        state: Any
        with path.open("rb") as file:
            start = file.read(64)
        if not start:
            raise UsageError(f"weights {path}: is empty; get the file again")
        for mark, what in _OTHERS.items():
            if start.lstrip().lower().startswith(mark):
                raise UsageError(f"weights {path}: {what}")
        if path.suffix.lower() == ".safetensors" or start[8:9] == b"{":
            state = load_file(path)
        else:
            state = _torch_load(path, status.st_size)
        return _named_tensors(state, size=status.st_size)
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"weights {path}: no such file") from None
    except Exception as error:  # a damaged file makes readers of zip, pickle and torch raise any
        raise UsageError(f"weights {path}: not a state dict of tensors{_reason(error)}") from error


def read_checkpoint_file(path: Path, entry: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a safetensors file whose metadata has a JSON object under `entry`, and its tensors.

    Raises:
        ValueError: If it is absent, damaged or another file, or a tensor has NaN or infinity.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise ValueError("no regular file")
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()[entry])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # a damaged file makes safetensors, torch and json raise any
        raise ValueError(_ESCAPES.sub("", str(error).partition("\n")[0])[:200]) from error
    if not isinstance(described, dict):
        raise ValueError(f"{entry} is no object")
    if (name := first_not_finite_tensor(tensors)) is not None:
        raise ValueError(f"{name[:80]!r} holds NaN or infinity")
    return described, tensors


def first_not_finite_tensor(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the first name of a tensor with NaN or infinity, or None."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.double()).all():
            return name
    return None


def _torch_load(path: Path, size: int) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        # torch stores without compression: what grows is a bomb
        if sum(max(entry.file_size, entry.compress_size) for entry in entries) > size:
            raise ValueError("its parts claim more bytes than it has")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its parts are compressed, as torch saves none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _named_tensors(state: Any, *, size: int) -> TensorFile:
    """Return the state dict of what was read, by plain names.

    Args:
        state: Anything.
        size: Bytes of the file.

    Raises:
        ValueError: If it is no state dict, or its tensors claim more memory than the file has.
    """
    copies: list[str] = []
    for _ in range(_MOST_NESTED):
        inner = [n for n in WRAPPERS if isinstance(state, dict) and isinstance(state.get(n), dict)]
        copies = copies or inner
        if inner:
            state = state[inner[0]]
    if not isinstance(state, dict):
        raise ValueError("")
    total = 0
    for name, tensor in state.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise ValueError(f"{str(name)[:80]!r} is a {type(tensor).__name__}")
        claimed = tensor.numel() * max(4, tensor.element_size())
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name[:80]!r} claims {claimed} bytes, more than the file has of it")
        total += claimed
    if total > _MOST_SHARED * size + _SMALL_BYTES:
        raise ValueError(f"its tensors claim {total} bytes, too much for a file of {size} bytes")
    return TensorFile(
        tensors={name: tensor.detach() for name, tensor in _without_prefixes(state).items()},
        taken=copies[0] if copies else "",
        passed_over=tuple(copies[1:]),
    )


def _is_plain(tensor: object) -> bool:
    """Return whether it is a tensor whose values lie in memory."""
    return (
        type(tensor) in (Tensor, Parameter)
        and isinstance(tensor, Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
    )


def _without_prefixes(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove prefixes that every name has, and the counter of torch's `AveragedModel`."""
    state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    for prefix in _PREFIXES * 2:
        if state and all(name.startswith(prefix) and name != prefix for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _reason(error: Exception) -> str:
    """Return what is wrong, in brackets and without torch's advice and colors."""
    cause = _CAUSE.search(str(error))
    text = _ESCAPES.sub("", cause[1] if cause else str(error).partition("\n")[0]).strip()
    if not text or "weights_only" in text:
        return "" if isinstance(error, ValueError) else f" ({type(error).__name__})"
    remedy = "; save model.state_dict() alone" if cause else ""
    return f" ({text[:200]}){remedy}"
