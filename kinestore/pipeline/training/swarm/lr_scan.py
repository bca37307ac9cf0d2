"""The learning-rate scan: one training run whose rate rises from epoch to epoch.

lr_scan.json   the curve, the peak and the range
lr_scan.csv    learning_rate, train_loss, train_accuracy
lr_scan.png    the curve
"""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from kinestore.heads import TrainingConfig
from kinestore.heads.training.loop import Diverged, Epoch, Training
from kinestore.heads.training.processes import ONE_PROCESS, Processes, sole_process
from kinestore.heads.training.samples import Samples
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.notes import tell
from kinestore.pipeline.plotting.rate_chart import draw_rates
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.fold_trainer import chosen_class_weights
from kinestore.pipeline.training.folds import choose_folds
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.pipeline.training.swarm.config import (
    SWARM_TRAINING,
    LearningRate,
    check_plain_sgd,
    scanned_rates,
)
from kinestore.pipeline.training.train import open_data
from kinestore.progress import Progress
from kinestore.store import Features, StoreError, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import is_temporary, write_text
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.validated_read import read_json

SCANNED_RATES = tuple(1e-6 * 10 ** (0.4 * epoch) for epoch in range(20))
"""Learning rates of the released notebooks, one for each epoch: 1e-6 to 39.8."""

_JSON, _CSV, _PNG = "lr_scan.json", "lr_scan.csv", "lr_scan.png"
_EVERY_CLIP = EvaluationConfig()


@dataclass(frozen=True, kw_only=True)
class ScannedRate:
    """An epoch of the scan.

    Attributes:
        learning_rate: Its rate.
        train_loss: Mean cross-entropy over the training clips.
        train_accuracy: Their accuracy, each taken just before its batch's step.
    """

    learning_rate: float
    train_loss: float
    train_accuracy: float


@dataclass(frozen=True, kw_only=True)
class RateScan:
    """A learning-rate scan.

    Attributes:
        curve: One entry for each epoch, up to the last that did not diverge.
        peak: The rate with the highest accuracy, the lowest of equals.
        low: Low end of the range to draw from: the peak / 1000, to the nearest power of ten.
        high: Its high end: the peak * 10, to the nearest power of ten.
        diverged_at: The rate at which training diverged; None where it did not.
        config: Head, features, clips, settings and seed.
    """

    curve: list[ScannedRate]
    peak: float
    low: float
    high: float
    diverged_at: float | None
    config: dict[str, object]

    def rates(self, *, particles: int) -> list[LearningRate]:
        """Return the rates of a swarm: the peak, a tenth of it and so on, and the range."""
        return scanned_rates(self.peak, (self.low, self.high), particles=particles)


def lr_scan(
    data: Features | FrameClips,
    *,
    out: str | Path,
    head: str = "temporal_transformer",
    evaluation: EvaluationConfig = _EVERY_CLIP,
    training: TrainingConfig = SWARM_TRAINING,
    seed: int = 0,
    progress: Progress | None = None,
) -> RateScan:
    """Train for 20 epochs at rising learning rates, and write the curve, its peak and a range.

    Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet
    Transformer, 2023, section 4, and its released notebooks: one run, the weights carried on from
    rate to rate. It is on the training clips of the first fold: of several folds, these are test
    clips of others, and a note says so.

    Args:
        data: As `kinestore.swarm` takes it.
        out: A folder: new, empty or of an earlier scan, which is replaced.
        head: As `kinestore.swarm` takes it.
        evaluation: Which clips are test and validation clips, and so not scanned on.
        training: Plain SGD; its epochs and learning rate are those of the scan.
        seed: 0 or more.
        progress: Called after each epoch.

    Raises:
        UsageError: If the request or the clips do not allow it, or the first rate diverges.
    """
    check_plain_sgd(training)
    if evaluation.patience is not None:
        raise UsageError(
            f"patience={evaluation.patience}: a scan has no end to choose; leave it out"
        )
    config = replace(training, epochs=len(SCANNED_RATES))
    folder = local_path(out)
    _check_folder(folder)
    with sole_process(
        config.device, work="rates are scanned", command="kinestore lr-scan"
    ) as processes:
        clips = open_data(data, head=head, training=config, seed=seed, processes=processes)
        described, folds = choose_folds(clips.rows, evaluation, seed=seed)
        if len(folds) > 1:
            tell(
                [
                    f"rates are scanned on the training clips of fold {folds[0].name!r}, which the "
                    f"other {len(folds) - 1} folds test"
                ]
            )
        model = clips.new_model()
        clips.check(model)
        (samples,) = clips.prepare([folds[0].train]).clients
        labels, num_classes = clips.rows.labels[folds[0].train], len(clips.rows.classes)
        weights = chosen_class_weights(training, labels, num_classes=num_classes)

        def on_epoch(epoch: Epoch) -> None:
            if progress is not None:
                note = f"rate {SCANNED_RATES[epoch.number - 1]:.2g}: {epoch.accuracy:.3f}"
                progress("training", epoch.number, len(SCANNED_RATES), note)

        device_model = model.to(processes.device)
        curve = scan_rates(
            device_model,
            samples,
            config=config,
            seed=seed,
            processes=processes,
            class_weights=weights,
            on_epoch=on_epoch,
        )
    asked: dict[str, object] = {
        "head": head,
        "features": clips.rows.views,
        "clips": clips.rows.fingerprint,
        "evaluation": described,
        "num_train": len(samples),
        "settings": asdict(training),
        "seed": seed,
    }
    found = summarize_scan(curve, asked)
    _write(folder, found)
    return found


def scan_rates(
    model: nn.Module,
    samples: Samples,
    *,
    config: TrainingConfig,
    seed: int,
    processes: Processes = ONE_PROCESS,
    class_weights: Tensor | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[ScannedRate]:
    """Train a model in place, one epoch at each of `SCANNED_RATES`; stop where it diverges."""
    curve = []
    for number, rate in enumerate(SCANNED_RATES, start=1):
        at_rate = replace(config, learning_rate=rate)
        training = Training(
            model,
            samples,
            config=at_rate,
            seed=seed,
            processes=processes,
            class_weights=class_weights,
        )
        try:
            epoch = training.epoch(number, np.arange(len(samples)))
        except Diverged:
            tell([f"learning rate {rate:.3g}: training diverged; the scan ends here"])
            break
        curve.append(
            ScannedRate(learning_rate=rate, train_loss=epoch.loss, train_accuracy=epoch.accuracy)
        )
        on_epoch(epoch)
    return curve


def read_scan(run: str | Path) -> RateScan:
    """Read the result of a scan.

    Raises:
        UsageError: If there is none, or it cannot be used.
    """
    from pydantic import TypeAdapter  # takes long to import

    path = local_path(run)
    try:
        values = read_json(LocalStorage(path), _JSON)
        scan: RateScan = TypeAdapter(RateScan).validate_json(json.dumps(values), strict=True)
    except FileNotFoundError:
        raise UsageError(
            f"lr_scan={path}: has no {_JSON}; name a folder that `kinestore lr-scan` made"
        ) from None
    except (OSError, StoreError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"lr_scan={path}: cannot be used ({reason}); run `kinestore lr-scan` again"
        ) from error
    if not (0 < scan.low <= scan.high < math.inf and 0 < scan.peak < math.inf):
        raise UsageError(
            f"lr_scan={path}: peak {scan.peak:g} and range {scan.low:g} to {scan.high:g} are no "
            "learning rates; run `kinestore lr-scan` again"
        )
    return scan


def whole_decades(peak: float) -> tuple[float, float]:
    """Return the range of a peak: a thousandth to ten times it, to the nearest powers of ten."""
    exponent = round(math.log10(peak), 9)
    low, high = round(exponent - 3), round(exponent + 1)
    return float(f"1e{low}"), float(f"1e{high}")


def summarize_scan(curve: list[ScannedRate], config: dict[str, object]) -> RateScan:
    """Return the result of a scan.

    Raises:
        UsageError: If training diverged at the lowest rate.
    """
    if not curve:
        raise UsageError(
            f"learning rate {SCANNED_RATES[0]:g}: training diverged at the lowest rate; check the "
            "clips for extreme features"
        )
    peak = max(curve, key=lambda one: one.train_accuracy).learning_rate
    low, high = whole_decades(peak)
    ended = SCANNED_RATES[len(curve)] if len(curve) < len(SCANNED_RATES) else None
    return RateScan(curve=curve, peak=peak, low=low, high=high, diverged_at=ended, config=config)


def _check_folder(folder: Path) -> None:
    """Refuse a folder of something else."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"out={folder}: is a file; name a folder")
    if folder.is_dir():
        names = {path.name for path in folder.iterdir() if not is_temporary(path.name)}
        if names - {_JSON, _CSV, _PNG}:
            raise UsageError(
                f"out={folder}: holds something that is no learning-rate scan; name a new or empty "
                "folder"
            )


def _write(folder: Path, scan: RateScan) -> None:
    """Write the curve and, last, the result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _JSON).unlink(missing_ok=True)
    table = io.StringIO()
    rows = csv.DictWriter(table, list(asdict(scan.curve[0])), lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(one) for one in scan.curve)
    write_text(folder / _CSV, table.getvalue())
    draw_rates(
        folder / _PNG,
        rates=[one.learning_rate for one in scan.curve],
        accuracies=[one.train_accuracy for one in scan.curve],
        peak=scan.peak,
        drawn=(scan.low, scan.high),
    )
    write_text(folder / _JSON, json_text(asdict(scan), indent=2, ensure_ascii=False) + "\n")
