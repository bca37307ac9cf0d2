"""What travels between server and clients.

`parameters` counts the elements of trainable tensors alone, as papers do; `bytes` counts the whole
payload, buffers included, without any envelope of a transport.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Sums over all clients that took part; up is from client to server.

    Attributes:
        parameters_up: Elements of parameters sent up.
        parameters_down: Elements of parameters sent down.
        bytes_up: Bytes of all tensors sent up.
        bytes_down: Bytes of all tensors sent down.
    """

    parameters_up: int
    parameters_down: int
    bytes_up: int
    bytes_down: int


def round_traffic(
    model: nn.Module,
    *,
    sent_down: Mapping[str, Tensor],
    sent_up: Iterable[Mapping[str, Tensor]],
) -> Traffic:
    """One round: every client gets `sent_down`, and sends one of `sent_up`, refused ones too.

    Args:
        model: Tells which of the names are parameters.
        sent_down: State dict that each client starts from.
        sent_up: State dicts that came back, one a client.
    """
    answers = list(sent_up)
    names = {name for name, _ in model.named_parameters()}
    return Traffic(
        parameters_up=sum(_num_elements(answer, names) for answer in answers),
        parameters_down=_num_elements(sent_down, names) * len(answers),
        bytes_up=sum(payload_bytes(answer) for answer in answers),
        bytes_down=payload_bytes(sent_down) * len(answers),
    )


def payload_bytes(arrays: Mapping[str, Tensor]) -> int:
    """Bytes of a state dict's elements."""
    return sum(array.numel() * array.element_size() for array in arrays.values())


def _num_elements(arrays: Mapping[str, Tensor], names: set[str]) -> int:
    return sum(array.numel() for name, array in arrays.items() if name in names)
