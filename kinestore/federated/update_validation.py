"""Validation of clients' updates, so that one broken client does not spoil the server's model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinestore.federated.state import Arrays, ClientUpdate
from kinestore.store import KinestoreError

_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class RejectedUpdate:
    """An update that was not used.

    Attributes:
        client: Number of the client that sent it.
        reason: A sentence that names the tensor.
        is_absent: Whether none came.
    """

    client: int
    reason: str
    is_absent: bool = False


def validate_updates(
    updates: Sequence[ClientUpdate], *, reference: Arrays
) -> tuple[list[ClientUpdate], list[RejectedUpdate]]:
    """Divide updates into those that fit the server's model and those that would break it.

    Args:
        updates: As the clients sent them.
        reference: The server's state dict, for names, shapes and dtypes.

    Returns:
        The updates to use and the rejected ones, both in the order given.
    """
    valid, rejected = [], []
    for update in updates:
        reason = find_fault(update.arrays, reference)
        if reason is None:
            valid.append(update)
        else:
            rejected.append(RejectedUpdate(client=update.client, reason=reason))
    return valid, rejected


def too_few_updates(
    number: int, rejected: Sequence[RejectedUpdate], *, num_used: int
) -> KinestoreError:
    """Return the error for a round in which fewer updates can be used than it needs.

    Args:
        number: Number of the round, 1 for the first.
        rejected: One or more.
        num_used: Updates that could be used.
    """
    named = "; ".join(f"client {one.client}: {one.reason}" for one in rejected[:_MOST_NAMED])
    more = len(rejected) - _MOST_NAMED
    named += f"; and {more} more" if more > 0 else ""
    if num_used:
        return KinestoreError(
            f"round {number}: only {num_used} of {num_used + len(rejected)} updates can be used, "
            f"fewer than the quorum ({named}); mend these clients and resume, or lower quorum"
        )
    remedy = "use a lower learning rate, or look for clips with extreme features"
    if any(one.is_absent for one in rejected):
        remedy = "see that these clients run, or give them more time, and resume"
    return KinestoreError(
        f"round {number}: none of {len(rejected)} updates can be used ({named}); {remedy}"
    )


def find_fault(arrays: Arrays, reference: Arrays) -> str | None:
    """Return the first reason not to use these arrays, or None."""
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
