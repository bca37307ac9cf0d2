"""Which round is kept, and when patience is over."""

from dataclasses import fields
from typing import Any

import pytest

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.round_record import RoundRecord


def records(*losses: float | None) -> list[RoundRecord]:
    found = []
    for number, loss in enumerate(losses, start=1):
        values: dict[str, Any] = dict.fromkeys([one.name for one in fields(RoundRecord)])
        found.append(RoundRecord(**{**values, "round": number, "validation_loss": loss}))
    return found


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ((1.0, 1.1, 1.2), True),
        ((1.0, 1.1, 0.9), False),
        ((1.0, None, None), False),  # rounds in which a client gave no loss
        ((1.0, None, 1.1, None, 1.2), True),
        ((1.0, float("nan"), float("nan")), True),
    ],
)
def test_patience_counts_rounds_with_a_loss(losses: tuple[float | None, ...], over: bool) -> None:
    choice = RoundChoice(by_clients=True, patience=2)
    assert choice.is_over(records(*losses), rounds=100) == over
