"""What a federation learns: settings that the server offers and each client follows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version

from kinestore.federated.config import RoundsConfig
from kinestore.heads import TrainingConfig
from kinestore.pipeline.runs.writer import versions
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.model_spec import read_strategy
from kinestore.store import UsageError

COMPARED = ("kinestore", "flwr", "numpy", "torch")
"""Packages that must have the same version everywhere."""


@dataclass(frozen=True, kw_only=True)
class FederationJob:
    """Settings that decide the training.

    Attributes:
        head: A head with its settings, as "mlp:hidden=512-256".
        strategy: A strategy with its settings.
        rounds: Rounds of communication, 1 or more.
        clients_per_round: Clients drawn for each round; None for all.
        min_clips: Training clips that a client needs to take part.
        evaluation: Which clips of its own a client tests; a single division.
        training: A client's training in one round.
        seed: 0 or more.
    """

    head: str
    strategy: str
    rounds: int
    clients_per_round: int | None
    min_clips: int
    evaluation: EvaluationConfig
    training: TrainingConfig
    seed: int

    def __post_init__(self) -> None:
        if self.evaluation.cv is not None or self.evaluation.folds is not None:
            raise UsageError(
                "cv, folds: train once for each fold; across machines there is one division, as "
                "with split='column' or split='random:0.3'"
            )
        if self.training.weights is not None:
            raise UsageError(
                f"weights={self.training.weights}: across machines training starts from the seed; "
                "leave it out"
            )
        if self.min_clips < 1:
            raise UsageError(f"min_clips={self.min_clips}: must be 1 or more")

    @property
    def rounds_config(self) -> RoundsConfig:
        """The settings of the rounds."""
        return RoundsConfig(
            rounds=self.rounds,
            strategy=read_strategy(self.strategy),
            clients_per_round=self.clients_per_round,
            schedule=self.training.schedule,
            warmup=self.training.warmup,
            freeze=self.training.freeze,
            seed=self.seed,
            device="cpu",
        )

    def to_json(self) -> dict[str, object]:
        """Return JSON values; the device is each machine's own."""
        values = asdict(self)
        values["training"] = {**values["training"], "device": "auto"}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "FederationJob":
        """Read what `to_json` returned, on another machine.

        Raises:
            UsageError: If a value is missing, of another type or out of range.
        """
        from pydantic import TypeAdapter, ValidationError  # takes long to import

        from kinestore.federated.flower_app.records import first_fault

        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            raise UsageError(
                f"the server's settings cannot be used: {first_fault(error)}"
            ) from None


def compared_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on, without marks of a build."""
    known = {**versions(), "flwr": version("flwr")}
    return {name: known[name].partition("+")[0] for name in COMPARED}
