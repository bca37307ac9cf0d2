"""Traffic between server and clients.

`parameters` counts the elements of trainable tensors alone, as papers do; `bytes` counts the whole
payload, buffers included, without any envelope of a transport.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Amounts sent, summed over all clients that took part; up is from client to server.

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


NO_TRAFFIC = Traffic(parameters_up=0, parameters_down=0, bytes_up=0, bytes_down=0)
"""Nothing sent."""


def round_traffic(
    parameters: Collection[str],
    *,
    sent_down: Mapping[str, Tensor],
    num_receivers: int,
    sent_up: Iterable[Mapping[str, Tensor]],
) -> Traffic:
    """Return the traffic of a round: clients get `sent_down`, and send one of `sent_up` back.

    Args:
        parameters: Names that are trained.
        sent_down: State dict that each client starts from.
        num_receivers: Clients that get it, those without an answer among them.
        sent_up: State dicts that came back, one a client, rejected ones too.
    """
    answers = list(sent_up)
    return Traffic(
        parameters_up=sum(_num_elements(answer, parameters) for answer in answers),
        parameters_down=_num_elements(sent_down, parameters) * num_receivers,
        bytes_up=sum(payload_bytes(answer) for answer in answers),
        bytes_down=payload_bytes(sent_down) * num_receivers,
    )


def payload_bytes(arrays: Mapping[str, Tensor]) -> int:
    """Return the bytes of a state dict's elements."""
    return sum(array.numel() * array.element_size() for array in arrays.values())


def _num_elements(arrays: Mapping[str, Tensor], names: Collection[str]) -> int:
    return sum(array.numel() for name, array in arrays.items() if name in names)


QUANTITIES = ("parameters_up", "parameters_down", "bytes_up", "bytes_down")
