"""Federated averaging of clients that are held near the server's model.

Source: Li et al., "Federated Optimization in Heterogeneous Networks", 2020, Algorithm 2: a client
adds mu/2 ||w - w_t||^2 to its loss. Our reading: the norm runs over parameters, not over buffers.
"""

import math
from dataclasses import replace

from kinestore.federated.strategies import fedavg
from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.federated.strategy import LocalRule
from kinestore.store import UsageError


def build(
    *, mu: float = 0.01, aggregate: str = "mean", trim: float = 0.2, clip: float | None = None
) -> FedAvg:
    """FedProx.

    Args:
        mu: 0 or more; 0 is federated averaging to the bit. The paper tries .001, .01, .1 and 1.
        aggregate: As federated averaging has it.
        trim: As federated averaging has it.
        clip: As federated averaging has it.
    """
    if not 0 <= mu < math.inf:
        raise UsageError(f"mu={mu}: must be 0 or more")
    average = fedavg.build(aggregate=aggregate, trim=trim, clip=clip)
    return replace(average, local=LocalRule(pull=mu))
