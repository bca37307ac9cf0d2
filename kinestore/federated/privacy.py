"""Differential privacy of a run with the noise stage, by Opacus' accountant."""

from dataclasses import dataclass

from kinestore.federated.stages import Stages
from kinestore.store import UsageError

DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """A bound that holds for every client: (epsilon, delta)-differential privacy.

    It concerns the model that the server sends, with one client's rows all present or all absent,
    as long as the seed is secret. It does not cover the means and deviations that clients send
    once for the standardization, nor private parts of the model, which stay with their clients.

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


def check_accountant(stages: Stages) -> None:
    """Raise UsageError if there is noise and Opacus is not installed."""
    if stages.noise:
        try:
            import opacus  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"noise={stages.noise}: needs an accountant; pip install 'kinestore[privacy]'"
            ) from error


def privacy_of(stages: Stages, *, rounds: int, rate: float) -> Privacy | None:
    """Return the bound of so many rounds, by Renyi differential privacy; None without noise.

    It holds for every strategy that accepts the noise, since whatever the strategy computes
    afterwards reads the noisy sums alone.

    Args:
        stages: Those of the run.
        rounds: 1 or more.
        rate: Clients expected in a round over all clients.
    """
    if not stages.noise or stages.clip is None:
        return None
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(stages.noise, rate, rounds)]
    return Privacy(
        epsilon=float(accountant.get_epsilon(DELTA)),
        delta=DELTA,
        noise=stages.noise,
        clip=stages.clip,
        rate=rate,
    )
