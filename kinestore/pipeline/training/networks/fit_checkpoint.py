"""How far a net's training has come, in memory and on disk.

On disk it is a safetensors file: the tensors of `Training.state()`, the best epoch's as
"best.NAME", and the metadata "course", which is JSON of all that is no tensor.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinestore.pipeline.training.head_trainer import EpochRecord
from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.atomic import publish, temporary

FORMAT = 1

_BEST = "best."


@dataclass(kw_only=True)
class Course:
    """The epochs of one fit so far, and the best of them.

    Attributes:
        records: One an epoch.
        best_epoch: The one with the lowest validation loss, the earliest of equals; 0 before any.
        lowest: That loss.
        best: The net's tensors after it.
    """

    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    lowest: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def add(self, record: EpochRecord, net: Mapping[str, Tensor]) -> None:
        """Take in an epoch, and copy the net's tensors if it is the best."""
        self.records.append(record)
        if record.validation_loss is not None and record.validation_loss < self.lowest:
            self.best_epoch, self.lowest = record.epoch, record.validation_loss
            self.best = {name: tensor.clone() for name, tensor in net.items()}

    def is_over(self, *, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or as many without a better one as patience allows."""
        done = len(self.records)
        return done >= epochs or (patience is not None and done - self.best_epoch >= patience)

    def check_best(self) -> None:
        """Refuse a validation loss that was never a number."""
        if not self.best_epoch:
            raise KinestoreError(
                "validation: the loss was NaN or infinite in every epoch; use a lower learning_rate"
            )


def write_course(path: Path, course: Course, training: Mapping[str, Tensor]) -> None:
    """Write the file in the place of an earlier one; a kill leaves the one or the other whole."""
    described = {
        "format": FORMAT,
        "records": [asdict(record) for record in course.records],
        "best_epoch": course.best_epoch,
        "lowest": course.lowest,
    }
    tensors = {**training, **{_BEST + name: tensor for name, tensor in course.best.items()}}
    own = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path.parent) as unfinished:
        save_file(own, unfinished, metadata={"course": json.dumps(described)})
        publish(unfinished, path)


def read_course(path: Path) -> tuple[Course, dict[str, Tensor]]:
    """Read what `write_course` wrote: how far it was, and the training's tensors.

    Raises:
        UsageError: If the file is damaged, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["course"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if described.pop("format") != FORMAT:
            raise ValueError(f"this version reads format {FORMAT}")
        described["records"] = [EpochRecord(**record) for record in described["records"]]
        best = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_BEST)}
        best = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
        return Course(**described, best=best), tensors
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: is no checkpoint that can be used ({error}); run without --resume"
        ) from error
