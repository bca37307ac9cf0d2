"""The summary of a training job: what summary.json holds, and the job returns."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from kinestore.pipeline.runs.best_and_last import BestAndLast
from kinestore.pipeline.runs.earlier_names import with_current_names
from kinestore.pipeline.runs.swarm_figures import SwarmFigures
from kinestore.store import UsageError


class InvalidSummary(UsageError):
    """A summary has a value that no run has."""


FRACTIONS = ("top1", "top5", "macro_f1", "macro_precision", "macro_recall")


@dataclass(frozen=True, kw_only=True)
class FederatedFigures:
    """Figures of a federated run alone; parameters and bytes are sums over rounds and clients.

    With folds they are those of the saved model. The bytes include the exchange of statistics
    (once, from all clients), which has its own entries and is in no row of metrics.csv.

    Attributes:
        mean_client_top1: Plain mean of `client_top1` over the clients that have one; None
            where no client has.
        mean_client_top5: Plain mean of `client_top5`.
        client_top1: Accuracy of each client on its own test clips; None without any.
        client_top5: The same for the five highest logits.
        client_sizes: Training clips of each client.
        client_best_top1: Highest accuracy of each client on its own test clips after any round,
            chosen after the fact; None without any.
        client_num_classes: Number of classes that each client has a training clip of.
        num_unused: Training clips that the partition gives to no client.
        num_untested: Test clips that belong to no client, and so have no model where a part of it
            is private.
        parameters_up: Elements of parameters sent to the server.
        parameters_down: Elements of parameters sent to clients.
        bytes_up: Bytes sent to the server.
        bytes_down: Bytes sent to clients.
        standardise_bytes_up: Bytes of statistics sent to the server.
        standardise_bytes_down: Bytes of the standardizer sent to clients.
        num_rejected_updates: Number of rejected updates, over all folds.
        rejected_updates: One sentence for each.
        privacy: Bound on what the saved model reveals of a client, where noise was added.
        left_out_clients: One for each client that had too few training clips to take part, or
            that differed from the others.
    """

    mean_client_top1: float | None
    mean_client_top5: float | None
    client_top1: list[float | None]
    client_top5: list[float | None]
    client_sizes: list[int]
    parameters_up: int
    parameters_down: int
    bytes_up: int
    bytes_down: int
    standardise_bytes_up: int
    standardise_bytes_down: int
    num_rejected_updates: int
    rejected_updates: list[str]
    privacy: dict[str, float | None] | None = None
    left_out_clients: list[str] = field(default_factory=list)
    client_best_top1: list[float | None] | None = None
    client_num_classes: list[int] | None = None
    num_unused: int | None = None
    num_untested: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """The cost of a run's model.

    Attributes:
        parameters: All parameters.
        trainable_parameters: Those that were trained.
        sent_parameters: Those that a client sends in a round; None in a central run.
        macs: Multiply-adds of a clip, as `ks.describe` counts them; None where they cannot be
            counted.
        attention_macs: Those of attention, which are not in `macs`.
        input: Shape of the input of one clip.
    """

    parameters: int
    trainable_parameters: int
    sent_parameters: int | None
    macs: int | None
    attention_macs: int | None
    input: list[int]


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The summary of a finished run.

    Attributes:
        path: The run folder.
        top1: Fraction of test clips predicted correctly, over all folds as one set.
        top5: Fraction whose class is among the five highest logits.
        macro_f1: Mean F1 of the classes.
        macro_precision: Mean precision of the classes.
        macro_recall: Mean recall of the classes.
        num_train: Clips that the saved model was trained on.
        num_test: Clips tested; with folds all, each by a model that was not trained on it.
        num_unlabeled: Clips left out because they have no label.
        num_missing: Clips left out because they lack one of the features.
        num_left_out: Labeled clips that are neither training, validation nor test clips.
        model: "all rows" where the saved model was trained on all clips, else "train rows".
        classes: Names of the classes, in the order of the model's outputs.
        config: Entries of config.json.
        versions: Versions of Python and of the packages that the figures depend on.
        seconds: Wall time of the job.
        num_validation: Validation clips, added up over folds; of a federated run where it has some.
        fold_top1: Accuracy of each fold; of a central run.
        best_epochs: Best epoch of each fold that has a validation part; of a central run.
        best_rounds: Best round of each fold that has a validation part; of a federated run.
        num_changed: Clips left out because their video is gone or changed; of clips of frames.
        processes: Number of processes; of clips of frames.
        device: Kind of device.
        clips_per_s: Training clips a second; of clips of frames.
        weights_taken: One sentence on what was taken of weights to start from; None without any.
        untrained_classes: One sentence for each class that a fold tests or validates on but does
            not train on; None where there is none.
        cost: Parameters and multiply-adds of the model.
        best_and_last: Accuracies of the last epoch or round, the chosen and the best one.
        unscored_clients: One sentence for each time that a client on another machine gave no
            scores.
        wire_bytes_up: Bytes that clients on other machines really sent, polls included; None
            after a resume.
        wire_bytes_down: Bytes that they got.
        mean_average_precision: Mean over the classes of the test clips; of clips with several
            labels, whose accuracies count the label with the highest logit.
        federation: Figures of a federated run.
        swarm: Figures of a swarm's run.
    """

    path: Path
    top1: float
    top5: float
    macro_f1: float
    macro_precision: float
    macro_recall: float
    num_train: int
    num_test: int
    num_unlabeled: int
    num_missing: int
    num_left_out: int
    model: str
    classes: list[str]
    config: dict[str, object]
    versions: dict[str, str]
    seconds: float
    num_validation: int | None = None
    fold_top1: dict[str, float] | None = None
    best_epochs: dict[str, int] | None = None
    best_rounds: dict[str, int] | None = None
    num_changed: int | None = None
    processes: int | None = None
    device: str | None = None
    clips_per_s: float | None = None
    weights_taken: str | None = None
    untrained_classes: list[str] | None = None
    cost: RunCost | None = None
    best_and_last: BestAndLast | None = None
    mean_average_precision: float | None = None
    unscored_clients: list[str] | None = None
    wire_bytes_up: int | None = None
    wire_bytes_down: int | None = None
    federation: FederatedFigures | None = None
    swarm: SwarmFigures | None = None

    def __post_init__(self) -> None:
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidSummary(f"{name}={getattr(self, name)}: must be from 0 to 1")
        for name in (own.name for own in fields(self)):
            value = getattr(self, name)
            if name.startswith("num_") and value is not None and value < 0:
                raise InvalidSummary(f"{name}={value}: must be 0 or more")
        if not 0 <= self.seconds < math.inf:
            raise InvalidSummary(f"seconds={self.seconds}: must be 0 or more and finite")
        if len(set(self.classes)) < len(self.classes):
            raise InvalidSummary("classes: one is named twice")

    def to_json(self) -> dict[str, object]:
        """Return what summary.json holds: figures and settings in one flat object."""
        values = asdict(self)
        del values["path"]
        config, federation = values.pop("config"), values.pop("federation") or {}
        versions, seconds = values.pop("versions"), values.pop("seconds")
        own = {key: value for key, value in values.items() if value is not None}
        settings = {key: value for key, value in config.items() if key != "job"}
        return {**own, **federation, **settings, "versions": versions, "seconds": seconds}

    @classmethod
    def from_json(cls, values: dict[str, object], path: Path) -> "RunSummary":
        """Check and read what `to_json` of this or an earlier version returned.

        Raises:
            InvalidSummary: If an entry is missing, of another type or out of range.
        """
        from pydantic import TypeAdapter, ValidationError  # takes long to import

        rest = with_current_names(values)
        federation = _take(rest, FederatedFigures) if "client_sizes" in rest else None
        own = _take(rest, cls)
        known = {**own, "config": rest, "federation": federation, "path": str(path)}
        try:
            return TypeAdapter(cls).validate_json(json.dumps(known), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "summary.json"
            raise InvalidSummary(f"{name}: {first['msg'].lower()}") from error


def _take(values: dict[str, object], kind: type) -> dict[str, object]:
    """Remove and return the entries that are fields of a dataclass."""
    names = {own.name for own in fields(kind)} & values.keys()
    return {name: values.pop(name) for name in names}
