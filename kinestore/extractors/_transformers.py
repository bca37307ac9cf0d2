"""Networks of transformers, built without weights."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def build(make: Callable[[Any], Network], config: Any) -> Network:
    """A network on the meta device: drawing random weights first would take seconds.

    Buffers that no file holds are filled; transformers has none here but position numbers.

    Raises:
        TypeError: If there is another: transformers has changed.
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
