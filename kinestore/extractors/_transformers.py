"""Networks of transformers, built without weights."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def build_on_meta(make: Callable[[Any], _Network], config: Any) -> _Network:
    """Build a network on the meta device: drawing random weights first would take seconds.

    Buffers that no file holds are filled; in transformers these are only position numbers.

    Raises:
        TypeError: If there is another one, because transformers has changed.
    """
    with torch.device("meta"):
        network = make(config)
    kept = network.state_dict()
    for name, buffer in list(network.named_buffers()):
        if name in kept:
            continue
        module, _, attribute = name.rpartition(".")
        if attribute != "position_ids":
            raise TypeError(f"{name}: a buffer of {type(network).__name__} that no file holds")
        numbers = torch.arange(buffer.shape[-1]).expand(buffer.shape)
        network.get_submodule(module).register_buffer(attribute, numbers, persistent=False)
    return network
