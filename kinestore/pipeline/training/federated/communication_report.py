"""What a federated run sent, for communication.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kinestore.federated.communication_cost import (
    BLIP,
    PRINTED_HEAD,
    QUANTITIES,
    RESNET18,
    SLOW,
    Traffic,
    paper_reductions,
    reduction,
)
from kinestore.federated.round_record import RoundRecord

FROZEN = {
    "blip": 223_971_644,
    "blip-text": 223_971_644,
    "clip": 151_277_313,
    "clip-text": 151_277_313,
    "cnn-densenet201": 18_092_928,
    "cnn-efficientnet-lite0": 3_371_008,
    "cnn-resnet152": 58_143_808,
    "i3d": 28_043_472,
    "motion": 0,
    "r3d": 33_371_472,
    "slow": 32_454_096,
    "slowfast": 34_566_488,
    "videomae": 86_304_869,
}
"""Parameters of the networks behind the extractors; what the clients would share besides the head
if they trained all of it."""


def communication(
    records: Sequence[RoundRecord],
    *,
    setup: Traffic,
    num_clients: int,
    shared: int,
    head: int,
    views: Sequence[str],
) -> dict[str, Any]:
    """Parameters and bytes by round, by client and in all; and what sharing the head alone saves.

    Args:
        records: One a round.
        setup: What agreeing on a standardiser cost, in no record.
        num_clients: All of them.
        shared: Parameters that a client sends.
        head: Parameters of the whole head.
        views: The features, `<extractor>@<fingerprint>`.
    """
    return {
        "shared_parameters": shared,
        "head_parameters": head,
        "run": {name: sum(getattr(record, name) for record in records) for name in QUANTITIES},
        "standardise": asdict(setup),
        "clients": _by_client(records, num_clients),
        "rounds": [
            {
                "round": record.round,
                "clients": list(record.participants),
                **{name: getattr(record, name) for name in QUANTITIES},
            }
            for record in records
        ],
        "reduction": _reductions(shared, head, views),
    }


def _by_client(records: Sequence[RoundRecord], num_clients: int) -> list[dict[str, int]]:
    """Every client of a round is sent, and sends, as much as any other."""
    sums = [Counter[str]() for _ in range(num_clients)]
    for record in records:
        for client in record.participants:
            sums[client]["rounds"] += 1
            for name in QUANTITIES:
                sums[client][name] += getattr(record, name) // record.clients
    names = ("rounds", *QUANTITIES)
    return [
        {"client": client, **{name: count[name] for name in names}}
        for client, count in enumerate(sums)
    ]


def _reductions(shared: int, head: int, views: Sequence[str]) -> dict[str, Any]:
    """This run's own figures, and those of FLAMeST as printed and as they truly are."""
    frozen: Mapping[str, int | None] = {
        name: FROZEN.get(name) for name in (view.split("@")[0] for view in views)
    }
    known = [count for count in frozen.values() if count is not None]
    return {
        "frozen_parameters": dict(frozen),
        "against_whole_network": reduction(shared, sum(known) + head)
        if len(known) == len(frozen)
        else None,
        "against_distillation": reduction(shared, RESNET18),
        "flamest": {
            "blip_and_slow": BLIP + SLOW,
            "distilled": RESNET18,
            "printed": {"head": PRINTED_HEAD, **paper_reductions(PRINTED_HEAD)},
            "this_head": {"head": shared, **paper_reductions(shared)},
        },
    }
