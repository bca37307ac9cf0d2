"""How much a run with noise may tell of one client, by Opacus' accountant."""

from dataclasses import dataclass

from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.federated.strategy import Strategy
from kinestore.store import UsageError

DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """A bound that holds for every client: (epsilon, delta)-differential privacy.

    It is the model's that the server sends, with one client's rows all there or all away, as long
    as the seed is secret. The clients' moments, sent once to agree on a standardiser, are not in
    it.

    Attributes:
        epsilon: Of all rounds together.
        delta: 1e-5.
        noise: Standard deviation of the noise, in units of the clip.
        clip: Longest step of a client.
        rate: Probability that a client takes part in a round.
    """

    epsilon: float
    delta: float
    noise: float
    clip: float
    rate: float


def check_accountant(strategy: Strategy) -> None:
    """Refuse noise that nobody here can account for.

    Raises:
        UsageError: If Opacus is not installed.
    """
    if isinstance(strategy, FedAvg) and strategy.noise:
        try:
            import opacus  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"noise={strategy.noise}: needs an accountant; pip install 'kinestore[privacy]'"
            ) from error


def privacy_of(strategy: Strategy, *, rounds: int, rate: float) -> Privacy | None:
    """What so many rounds come to, by Renyi differential privacy; None without noise.

    Args:
        strategy: The run's.
        rounds: 1 or more.
        rate: Clients expected a round over all clients.
    """
    if not isinstance(strategy, FedAvg) or not strategy.noise or strategy.clip is None:
        return None
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(strategy.noise, rate, rounds)]
    return Privacy(
        epsilon=float(accountant.get_epsilon(DELTA)),
        delta=DELTA,
        noise=strategy.noise,
        clip=strategy.clip,
        rate=rate,
    )
