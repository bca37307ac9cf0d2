"""All fits of a job: one a fold, and one of all clips where there are several folds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kinestore.pipeline.runs.writer import Run
from kinestore.pipeline.training.folds import Fold
from kinestore.pipeline.training.head_trainer import EpochRecord, Fitted, FoldResult
from kinestore.pipeline.training.networks.network_trainer import NetTrainer

OnProgress = Callable[[int, int, str], None]
"""Called with the epochs done, how many there are in all, and the clips trained on a second."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What all fits came to: one a fold, the model to save, and how fast they were."""

    scored: list[FoldResult]
    saved: Fitted
    clips_per_s: float | None


class Fits:
    """Fits each fold and, after several, all clips; writes metrics and tells whoever watches."""

    def __init__(
        self,
        trainer: NetTrainer,
        run: Run | None,
        out: Path,
        *,
        resume: bool,
        on_progress: OnProgress | None,
    ) -> None:
        self._trainer, self._run, self._out = trainer, run, out
        self._resume, self._on_progress = resume, on_progress
        self._epochs = trainer.task.settings.epochs
        self._done = self._total = self._fits = 0
        self._clips, self._seconds = 0, 0.0

    def run(self, divisions: Sequence[Fold]) -> Results:
        """Every fold; the model of all clips is fitted for the folds' mean best epoch."""
        crossed = len(divisions) > 1
        self._total = self._epochs * (len(divisions) + crossed)
        scored = [self._fit(fold, self._epochs) for fold in divisions]
        last = scored[0]
        if crossed:
            everything = np.arange(len(self._trainer.task.rows.labels))
            fold = Fold(name="all rows", train=everything, test=everything[:0])
            mean_best = round(float(np.mean([result.best_epoch for result in scored])))
            last = self._fit(fold, mean_best)
        rate = self._clips / self._seconds if self._clips else None
        return Results(scored=scored, saved=last.fitted, clips_per_s=rate)

    def _fit(self, fold: Fold, num_epochs: int) -> FoldResult:
        """One fit, with its own checkpoint until the run is finished."""

        def on_epoch(record: EpochRecord, seconds: float | None) -> None:
            if self._run is not None and len(fold.test):
                self._run.add(asdict(record))
            rate = ""
            if seconds is not None:
                self._clips += len(fold.train)
                self._seconds += seconds
                rate = f"{len(fold.train) / seconds:.3g} clips/s"
            self._tell(1, rate)

        checkpoint = self._out / f"checkpoint-{self._fits}.safetensors"
        self._fits += 1
        result = self._trainer.run_fold(
            fold,
            num_epochs=num_epochs,
            checkpoint=checkpoint,
            resume=self._resume,
            on_epoch=on_epoch,
        )
        self._tell(self._epochs - len(result.epochs), "")
        return result

    def _tell(self, epochs: int, note: str) -> None:
        """So many more epochs are done, or were not needed."""
        self._done += epochs
        if epochs and self._on_progress is not None:
            self._on_progress(self._done, self._total, note)
