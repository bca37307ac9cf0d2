"""Contents of messages: one JSON object, and tensors as their plain bytes; nothing is pickled."""

import functools
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from kinestore.federated.state import Arrays
from kinestore.store import KinestoreError

_BODY, _TEXT, _RAW = "body", "json", "raw"
_MOST_TEXT = 1 << 24
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    )
}

_T = TypeVar("_T")


class InvalidMessage(KinestoreError):
    """A message is not what was agreed on."""


def write_content(body: Mapping[str, object], **groups: Arrays | ArrayRecord) -> RecordDict:
    """Return the content of a message.

    Args:
        body: JSON values.
        groups: Tensors by name, in groups; a record that `to_record` made serves many messages.
    """
    records: dict[str, Any] = {_BODY: ConfigRecord({_TEXT: json.dumps(body)})}
    for group, arrays in groups.items():
        records[group] = arrays if isinstance(arrays, ArrayRecord) else to_record(arrays)
    return RecordDict(records)


def to_record(arrays: Arrays) -> ArrayRecord:
    """Return tensors as Flower carries them."""
    return ArrayRecord({name: _to_array(array) for name, array in arrays.items()})


def read_body(content: RecordDict, kind: type[_T]) -> _T:
    """Return the JSON object of a message as a dataclass.

    Raises:
        InvalidMessage: If it is missing or not of this kind.
    """
    values = read_values(content)
    try:
        found: _T = _reader(kind).validate_python(values)  # type: ignore[arg-type]
        return found
    except ValidationError as error:
        raise InvalidMessage(f"sent a message that cannot be read ({first_fault(error)})") from None


def first_fault(error: ValidationError) -> str:
    """Return where the first value is that does not fit, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def read_values(content: RecordDict) -> dict[str, object]:
    """Return the JSON object of a message; raise `InvalidMessage` where there is none."""
    try:
        text = content.config_records[_BODY][_TEXT]
        if not isinstance(text, str) or len(text) > _MOST_TEXT:
            raise ValueError
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError
    except (KeyError, ValueError, RecursionError):
        raise InvalidMessage("sent a message without a readable body") from None
    return values


def read_arrays(content: RecordDict, group: str) -> dict[str, Tensor]:
    """Return a group of tensors; empty where there is none.

    Raises:
        InvalidMessage: If one is not what it says.
    """
    if group not in content.array_records:
        return {}
    return {name: _to_tensor(name, each) for name, each in content.array_records[group].items()}


@functools.cache
def _reader(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _to_array(tensor: Tensor) -> Array:
    plain = tensor.detach().cpu().contiguous()
    return Array(
        dtype=str(plain.dtype).removeprefix("torch."),
        shape=tuple(plain.shape),
        stype=_RAW,
        data=plain.reshape(-1).view(torch.uint8).numpy().tobytes(),
    )


def _to_tensor(name: str, array: Array) -> Tensor:
    dtype, shape = _DTYPES.get(array.dtype), tuple(array.shape)
    sized = all(isinstance(side, int) and side >= 0 for side in shape)
    if array.stype != _RAW or dtype is None or not sized:
        raise InvalidMessage(f"{name[:80]} is no plain tensor")
    if len(array.data) != math.prod(shape) * dtype.itemsize:
        raise InvalidMessage(f"{name[:80]} has other bytes than its shape {shape}")
    flat = torch.from_numpy(np.frombuffer(bytearray(array.data), np.uint8))
    return flat.view(dtype).reshape(shape)
