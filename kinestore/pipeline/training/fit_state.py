"""The epochs of one fit so far: records, the best epoch, and the checkpoint file.

On disk it is a safetensors file: the tensors of `Training.state()`, the best epoch's as
"best.NAME", and the metadata "fit", which is JSON of all that is no tensor.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.atomic import written_whole

FIT_FORMAT = 2

_BEST = "best."


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """A row of metrics.csv; accuracies are fractions.

    Attributes:
        fold: Name of the fold.
        epoch: 1 for the first.
        train_loss: Mean cross-entropy over the training clips, as `heads.Epoch` has it.
        train_accuracy: Accuracy on the training clips at the same moment.
        validation_loss: Mean cross-entropy after the epoch, or None without a validation part.
        validation_accuracy: Accuracy after the epoch, or None.
        test_accuracy: Accuracy after the epoch; NaN without test clips.
    """

    fold: str
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_accuracy: float


@dataclass(kw_only=True, eq=False)
class FitState:
    """The epochs of one fit so far, and the best of them.

    Attributes:
        records: One for each epoch.
        best_epoch: The one with the lowest validation loss, the earliest of equals; 0 before any.
        lowest: That loss.
        best: The model's tensors after it.
    """

    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    lowest: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def add(self, record: EpochRecord, model: Mapping[str, Tensor]) -> None:
        """Take in an epoch, and copy the model's tensors if it is the best."""
        self.records.append(record)
        if record.validation_loss is not None and record.validation_loss < self.lowest:
            self.best_epoch, self.lowest = record.epoch, record.validation_loss
            self.best = {name: tensor.clone() for name, tensor in model.items()}

    def is_over(self, *, epochs: int, patience: int | None) -> bool:
        """Return whether all epochs are done, or patience is over."""
        done = len(self.records)
        return done >= epochs or (patience is not None and done - self.best_epoch >= patience)

    def check_best(self) -> None:
        """Refuse a validation loss that was never a number."""
        if not self.best_epoch:
            raise KinestoreError(
                "validation: the loss was NaN or infinite in every epoch; use a lower "
                "learning_rate, or check the clips for extreme features"
            )


def write_fit(path: Path, fit: FitState, training: Mapping[str, Tensor]) -> None:
    """Replace the checkpoint; a kill leaves the old or the new one whole."""
    described = {
        "format": FIT_FORMAT,
        "records": [asdict(record) for record in fit.records],
        "best_epoch": fit.best_epoch,
        "lowest": fit.lowest,
    }
    tensors = {**training, **{_BEST + name: tensor for name, tensor in fit.best.items()}}
    own = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    with written_whole(path) as unfinished:
        save_file(own, unfinished, metadata={"fit": json.dumps(described)})


def read_fit(path: Path) -> tuple[FitState, dict[str, Tensor]]:
    """Read what `write_fit` wrote: the epochs so far, and the training's tensors.

    Raises:
        UsageError: If the file is damaged, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["fit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if described.pop("format") != FIT_FORMAT:
            raise ValueError(f"this version reads format {FIT_FORMAT}")
        described["records"] = [EpochRecord(**record) for record in described["records"]]
        best = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_BEST)}
        best = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
        return FitState(**described, best=best), tensors
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: is no checkpoint that can be used ({error}); run without resuming"
        ) from error
