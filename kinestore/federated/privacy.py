"""Differential privacy of a run with the noise stage, by Opacus' accountant."""

from dataclasses import dataclass

from kinestore.federated.stages import Stages
from kinestore.store import UsageError

DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """A bound that holds for every client: (epsilon, delta)-differential privacy.

    It concerns the shared part of the model, after every round, with one client's rows all present
    or all absent. It holds also for those who know the seed and which clients took part, as the
    run's records tell both: drawing only some clients lowers it only by the rounds that each
    misses. It does not cover private parts of the model, nor losses and counts of the records.

    Attributes:
        epsilon: Of all rounds together.
        delta: 1e-5.
        noise: Standard deviation of the noise, in units of the clip.
        clip: Longest step of a client.
        rounds: The most rounds that any client took part in.
    """

    epsilon: float
    delta: float
    noise: float
    clip: float
    rounds: int


def check_accountant(stages: Stages) -> None:
    """Raise UsageError if there is noise and Opacus is not installed."""
    if stages.noise:
        try:
            import opacus  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"noise={stages.noise}: needs an accountant; pip install 'kinestore[privacy]'"
            ) from error


def check_class_weights(stages: Stages, class_weights: str | None) -> None:
    """Raise UsageError if there is noise, and the loss needs the clients' counts of classes."""
    if stages.noise and class_weights:
        raise UsageError(
            f"class_weights={class_weights!r}: come from the clients' counts, which would be sent "
            "without noise; leave it out, or set noise=0"
        )


def privacy_of(stages: Stages, *, rounds: int) -> Privacy | None:
    """Return the bound of so many rounds, by Renyi differential privacy; None without noise.

    It holds for every strategy that accepts the noise, since whatever the strategy computes
    afterwards reads the noisy sums alone.

    Args:
        stages: Those of the run.
        rounds: The most rounds that any client took part in, 0 or more.
    """
    if not stages.noise or stages.clip is None:
        return None
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(stages.noise, 1.0, rounds)]
    return Privacy(
        epsilon=float(accountant.get_epsilon(DELTA)) if rounds else 0.0,
        delta=DELTA,
        noise=stages.noise,
        clip=stages.clip,
        rounds=rounds,
    )
