"""Shares of communication that are saved against sending frozen networks too."""

from dataclasses import fields
from typing import Any

import pytest

from kinestore.federated.communication_cost import Traffic
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.update_validation import RejectedUpdate
from kinestore.pipeline.training.federated.communication_report import communication

NO_TRAFFIC = Traffic(parameters_up=0, parameters_down=0, bytes_up=0, bytes_down=0)
CLIP, BLIP, SLOW = 151_277_313, 223_971_644, 32_454_096


def reduction(*views: str, head: int = 1_599_589) -> dict[str, object]:
    found = communication(
        [], setup=NO_TRAFFIC, num_clients=4, shared=head, head=head, views=list(views)
    )["reduction"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("views", "frozen"),
    [
        (["clip@01", "clip-text@02"], {"clip": CLIP}),
        (["clip-text@02", "clip@01"], {"clip": CLIP}),
        (["blip@01", "blip-text@02", "slow@03"], {"blip": BLIP, "slow": SLOW}),
        (["blip-image@01", "blip-text@02"], {"blip": BLIP}),
        (["slow@01", "slow@02"], {"slow": SLOW}),  # other frames, the same network
    ],
)
def test_a_network_that_views_share_counts_once(views: list[str], frozen: dict[str, int]) -> None:
    found = reduction(*views)
    whole = sum(frozen.values()) + 1_599_589
    assert found["frozen_parameters"] == frozen
    assert found["against_whole_network"] == pytest.approx(1 - 1_599_589 / whole)


def test_a_text_view_of_an_unknown_network_is_known_by_its_own_name() -> None:
    found = reduction("mine-text@01", "motion@02")
    assert found["frozen_parameters"] == {"mine-text": None, "motion": 0}
    assert found["against_whole_network"] is None


def test_a_client_without_an_answer_sent_nothing() -> None:
    """Three clients are sent 400 bytes each; two answer, one of them with what is rejected."""
    values: dict[str, Any] = dict.fromkeys([one.name for one in fields(RoundRecord)])
    values |= {"round": 1, "participants": (0, 1, 2), "parameters_up": 200, "bytes_up": 800}
    values |= {"parameters_down": 300, "bytes_down": 1200}
    values["refusals"] = (
        RejectedUpdate(client=1, reason="gave no answer", is_absent=True),
        RejectedUpdate(client=2, reason="holds NaN"),
    )
    found: Any = communication(
        [RoundRecord(**values)], setup=NO_TRAFFIC, num_clients=3, shared=100, head=100, views=[]
    )
    sent = {"parameters_up": 100, "bytes_up": 400}
    nothing = dict.fromkeys(sent, 0)
    received = {"rounds": 1, "parameters_down": 100, "bytes_down": 400}
    assert found["clients"] == [
        {"client": client, **received, **own} for client, own in enumerate([sent, nothing, sent])
    ]
