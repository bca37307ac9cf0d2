"""What travels between server and clients.

`parameters` counts the elements of trainable tensors alone, as papers do; `bytes` counts the whole
payload, buffers included, without any envelope of a transport.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


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
    parameters: Collection[str],
    *,
    sent_down: Mapping[str, Tensor],
    sent_up: Iterable[Mapping[str, Tensor]],
) -> Traffic:
    """One round: every client gets `sent_down`, and sends one of `sent_up`, refused ones too.

    Args:
        parameters: Which of the names are trained.
        sent_down: State dict that each client starts from.
        sent_up: State dicts that came back, one a client.
    """
    answers = list(sent_up)
    return Traffic(
        parameters_up=sum(_num_elements(answer, parameters) for answer in answers),
        parameters_down=_num_elements(sent_down, parameters) * len(answers),
        bytes_up=sum(payload_bytes(answer) for answer in answers),
        bytes_down=payload_bytes(sent_down) * len(answers),
    )


def payload_bytes(arrays: Mapping[str, Tensor]) -> int:
    """Bytes of a state dict's elements."""
    return sum(array.numel() * array.element_size() for array in arrays.values())


def _num_elements(arrays: Mapping[str, Tensor], names: Collection[str]) -> int:
    return sum(array.numel() for name, array in arrays.items() if name in names)


BLIP, SLOW, RESNET18 = 247_414_076, 32_454_096, 11_689_512
"""Parameters as FLAMeST counts them: BLIP with its head untied, Slow with 400 classes, and the 2-D
ResNet-18 of its knowledge distillation."""

PRINTED_HEAD = 1_573_889
"""Of FLAMeST's multi-layer perceptron on 2816 features: the count of a head with one output."""


def reduction(shared: int, whole: int) -> float:
    """What is saved by sending `shared` parameters in the place of `whole`: 1 - shared / whole."""
    return 1 - shared / whole


def paper_reductions(shared: int) -> dict[str, float]:
    """FLAMeST's two reductions for a head with so many shared parameters.

    Eq. 13 compares with sharing the whole network, BLIP and Slow and the head; Eq. 14 with the
    ResNet-18 of knowledge distillation.
    """
    return {
        "eq_13": reduction(shared, BLIP + SLOW + shared),
        "eq_14": reduction(shared, RESNET18),
    }


QUANTITIES = ("parameters_up", "parameters_down", "bytes_up", "bytes_down")
