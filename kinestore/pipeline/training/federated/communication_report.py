"""Traffic of a federated run, for communication.json."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from kinestore.federated.communication_cost import QUANTITIES, Traffic
from kinestore.federated.round_record import RoundRecord

FROZEN_PARAMETERS = {
    "blip": 223_971_644,
    "clip": 151_277_313,
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
"""Parameters of the networks behind the extractors, which clients would share besides the head if
they trained everything."""

_SUFFIXES = ("-image", "-text")
"""Ends of the names of extractors that share the network of the name without it."""


def communication(
    records: Sequence[RoundRecord],
    *,
    setup: Traffic,
    num_clients: int,
    shared: int,
    head: int,
    views: Sequence[str],
) -> dict[str, Any]:
    """Return parameters and bytes by round, by client and in all, and the share that is saved.

    Args:
        records: One for each round.
        setup: Traffic of the federated standardization, which is in no record.
        num_clients: All of them.
        shared: Parameters that a client sends.
        head: Parameters of the whole head.
        views: The features, `<extractor>@<fingerprint>`; none for a network on frames.
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
        "reduction": _reduction(shared, head, views),
    }


def _by_client(records: Sequence[RoundRecord], num_clients: int) -> list[dict[str, int]]:
    """Sum by client; each that is sent something, or answers, has as much as any other."""
    sums = [Counter[str]() for _ in range(num_clients)]
    for record in records:
        absent = {one.client for one in record.refusals if one.is_absent}
        num_answers = len(set(record.participants) - absent)
        for client in record.participants:
            sums[client]["rounds"] += 1
            for name in QUANTITIES:
                if name.endswith("_down"):
                    sums[client][name] += getattr(record, name) // record.clients
                elif client not in absent:
                    sums[client][name] += getattr(record, name) // num_answers
    names = ("rounds", *QUANTITIES)
    return [
        {"client": client, **{name: count[name] for name in names}}
        for client, count in enumerate(sums)
    ]


def _reduction(shared: int, head: int, views: Sequence[str]) -> dict[str, object]:
    """Return the share that is saved against sharing the frozen networks and the head.

    It is None where a frozen network's size is not known. A network on frames has none. A network
    that several views share counts once.
    """
    names = [network_of(view.split("@")[0]) for view in views]
    frozen = {name: FROZEN_PARAMETERS.get(name) for name in names}
    known = [count for count in frozen.values() if count is not None]
    whole = sum(known) + head
    saved = 1 - shared / whole if len(known) == len(frozen) else None
    return {"frozen_parameters": frozen, "against_whole_network": saved}


def network_of(extractor: str) -> str:
    """Return the name of an extractor's network, as `FROZEN_PARAMETERS` has it."""
    for suffix in _SUFFIXES:
        if (name := extractor.removesuffix(suffix)) in FROZEN_PARAMETERS:
            return name
    return extractor
