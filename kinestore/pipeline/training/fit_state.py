"""The epochs of one fit so far: records, the best epoch, and the checkpoint file.

On disk it is a safetensors file: the tensors of `Training.state()`, the best epoch's as
"best.NAME", and the metadata "fit", which is JSON of all that is no tensor.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.atomic import written_whole
from kinestore.store.io.tensors import read_checkpoint_file

FIT_FORMAT = 3

_BEST, _MODEL, _OPTIMIZER = "best.", "model.", "optimizer."


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
        train_top5: Accuracy of the five highest logits on the training clips, as `train_accuracy`.
        test_top5: The same on the test clips after the epoch; NaN without test clips.
    """

    fold: str
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_accuracy: float
    train_top5: float
    test_top5: float


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


@dataclass(frozen=True, kw_only=True)
class _Progress:
    """Entries of a checkpoint that are no tensors."""

    records: list[EpochRecord]
    best_epoch: int
    lowest: float


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
    from pydantic import TypeAdapter  # takes long to import

    try:
        described, tensors = read_checkpoint_file(path, "fit")
        if described.pop("format") != FIT_FORMAT:
            raise ValueError(f"this version reads format {FIT_FORMAT}")
        best = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_BEST)}
        best = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
        progress = TypeAdapter(_Progress).validate_json(json.dumps(described), strict=True)
        fit = FitState(**vars(progress), best=best)
        _check_fit(fit, tensors)
        return fit, tensors
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{path}: is no checkpoint that can be used ({reason}); run without resuming"
        ) from error


def _check_fit(fit: FitState, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the parts of a checkpoint do not fit each other."""
    if [record.epoch for record in fit.records] != list(range(1, len(fit.records) + 1)):
        raise ValueError("its epochs are not numbered from 1")
    if not 0 <= fit.best_epoch <= len(fit.records) or math.isnan(fit.lowest):
        raise ValueError(f"epoch {fit.best_epoch} cannot be the best")
    shapes = {
        name.removeprefix(_MODEL): tensor.shape
        for name, tensor in tensors.items()
        if name.startswith(_MODEL)
    }
    if fit.best_epoch and {name: tensor.shape for name, tensor in fit.best.items()} != shapes:
        raise ValueError("the best epoch has other tensors than the last")
    for name, tensor in tensors.items():
        _, _, of = name.removeprefix(_OPTIMIZER).partition(".")
        if name.startswith(_OPTIMIZER) and tensor.ndim and tensor.shape != shapes.get(of):
            raise ValueError(f"{name[:80]!r} has another shape than its parameter")
