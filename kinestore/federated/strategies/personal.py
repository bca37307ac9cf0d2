"""Federated averaging of a part of the model, while each client keeps the rest as its own.

Source: Personalized federated learning with spatio-temporal differential features, Sec. 3.3: the
representation is private and the head public, as LG-FedAvg has it (Liang et al., "Think Locally,
Act Globally", 2020). Naming the head private instead gives FedPer (Arivazhagan et al., "Federated
Learning with Personalization Layers", 2019).
"""

from collections.abc import Sequence

from kinestore.federated.shared_part import SharedPart
from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.store import UsageError


def build(*, private: Sequence[str] = (), public: Sequence[str] = ()) -> FedAvg:
    """Build averaging of a part of the model.

    Args:
        private: Modules or tensors that stay with the client, such as "0" for an MLP's first
            layer; all others are public.
        public: Or else: those that are shared; all others are private. Give one of the two.
    """
    if bool(private) == bool(public):
        raise UsageError(
            f"private={'-'.join(private)!r}, public={'-'.join(public)!r}: give one of them, by "
            "names of the head's modules"
        )
    return FedAvg(shared_part=SharedPart(private=tuple(private), public=tuple(public)))
