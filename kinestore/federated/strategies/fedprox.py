"""Federated averaging of clients that are held near the server's model.

Source: Li et al., "Federated Optimization in Heterogeneous Networks", 2020, Algorithm 2: a client
adds mu/2 ||w - w_t||^2 to its loss. Our reading: the norm runs over parameters, not over buffers.
"""

import math

from kinestore.federated.state import ProximalTerm
from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.store import UsageError


def build(*, mu: float = 0.01) -> FedAvg:
    """Build FedProx.

    Args:
        mu: 0 or more; 0 is bit-identical to federated averaging. The paper tries .001, .01, .1
            and 1.
    """
    if not 0 <= mu < math.inf:
        raise UsageError(f"mu={mu}: must be 0 or more")
    return FedAvg(term=ProximalTerm(coefficient=mu))
