"""Federated averaging whose server takes the clients' mean step as a gradient, with Yogi.

Source: Reddi et al., "Adaptive Federated Optimization", 2021, Algorithm 2: as `fedadam`, but for
v <- v - (1 - beta2) D^2 sign(v - D^2), which forgets large steps more slowly.
"""

from kinestore.federated.strategies.fedadam import AdaptiveServer


def build(
    *, learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3
) -> AdaptiveServer:
    """Build FedYogi.

    Args:
        learning_rate: As in `fedadam`.
        beta1: As in `fedadam`.
        beta2: As in `fedadam`.
        tau: As in `fedadam`.
    """
    return AdaptiveServer(yogi=True, learning_rate=learning_rate, beta1=beta1, beta2=beta2, tau=tau)
