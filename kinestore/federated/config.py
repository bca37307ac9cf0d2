"""Settings of federated rounds, for one model and its clients."""

from dataclasses import dataclass

from kinestore.federated import create
from kinestore.federated.strategy import Algorithm
from kinestore.heads.training.lr_schedule import RateSchedule
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """Settings of the rounds of a run.

    Attributes:
        rounds: Number of rounds, 1 or more.
        strategy: A strategy's name, or one that `federated.create` built with its settings.
        clients_per_round: Number of clients drawn for each round, without repetition; None takes
            all. With the noise stage each client is drawn by itself, and this many are expected.
        schedule: Learning rate of clients by round, as `heads.training` reads it.
        warmup: Rounds in which it rises first, 0 or more and below `rounds`.
        freeze: "trunk" where clients train the classifier alone, and send nothing else; or None.
        seed: 0 or more; the same seed gives the same model, unless there is noise.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
    """

    rounds: int
    strategy: str | Algorithm = "fedavg"
    clients_per_round: int | None = None
    schedule: str = "constant"
    warmup: int = 0
    freeze: str | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds={self.rounds}: must be 1 or more")
        _ = self.rates

    @property
    def rates(self) -> RateSchedule:
        """The learning rate of clients by round."""
        return RateSchedule(
            schedule=self.schedule, warmup=self.warmup, num=self.rounds, unit="rounds"
        )

    @property
    def is_flat(self) -> bool:
        """True where all rounds have the same learning rate."""
        return all(self.rates.factor(number) == 1 for number in range(1, self.rounds + 1))

    @property
    def algorithm(self) -> Algorithm:
        """The strategy with its stages.

        Raises:
            UsageError: If there is no strategy of this name.
        """
        return create(self.strategy) if isinstance(self.strategy, str) else self.strategy

    def check_clients(self, num_clients: int) -> None:
        """Raise UsageError if so many clients cannot be drawn for a round."""
        if self.clients_per_round is not None and not 1 <= self.clients_per_round <= num_clients:
            raise UsageError(
                f"clients_per_round={self.clients_per_round}: must be from 1 to {num_clients}, "
                "the number of clients"
            )
