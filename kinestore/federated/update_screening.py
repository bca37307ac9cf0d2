"""Keeps one broken client from spoiling everybody's model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinestore.federated.strategy import ClientUpdate


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An update that was not used.

    Attributes:
        client: Who sent it.
        reason: One sentence for people, naming the tensor.
    """

    client: int
    reason: str


def screen(
    updates: Sequence[ClientUpdate], *, reference: Mapping[str, Tensor]
) -> tuple[list[ClientUpdate], list[Refusal]]:
    """Part the updates that fit the server's model from those that would break it.

    Args:
        updates: What the clients sent.
        reference: The server's state dict, for names, shapes and dtypes.

    Returns:
        The updates to use, and the refusals, both in the order of the clients given.
    """
    kept, refused = [], []
    for update in updates:
        reason = _fault(update.arrays, reference)
        if reason is None:
            kept.append(update)
        else:
            refused.append(Refusal(client=update.client, reason=reason))
    return kept, refused


def _fault(arrays: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> str | None:
    """Why not to use these arrays, or None."""
    for name in reference:
        if name not in arrays:
            return f"{name} is missing"
    for name, array in arrays.items():
        if name not in reference:
            return f"{name} is not in the model"
        wanted = reference[name]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            return (
                f"{name} is {array.dtype} {tuple(array.shape)}, "
                f"must be {wanted.dtype} {tuple(wanted.shape)}"
            )
        # A sum is finite far quicker than all its terms are seen to be, unless it overflows.
        if not torch.isfinite(array.sum()) and not torch.isfinite(array).all():
            return f"{name} holds NaN or infinity"
    return None
