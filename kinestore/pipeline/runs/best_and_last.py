"""The last step of a training job, the chosen one, the best on the test clips, and convergence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 5
"""Steps of the moving mean by which convergence is measured."""

CONVERGED_AT = 0.99
"""Share of the largest moving mean of a run that a converged one has."""


@dataclass(frozen=True, kw_only=True)
class StepScore:
    """Accuracy on the test clips after one step of each fold, an epoch or a round.

    Attributes:
        steps: The step of each fold, 1 for the first.
        top1: Mean over the folds, weighted by their test clips.
        top5: The same for the five highest logits.
    """

    steps: dict[str, int]
    top1: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class BestAndLast:
    """Accuracies of a run at the steps that papers report.

    Attributes:
        unit: "epoch" or "round".
        last: The last step.
        chosen_on_validation: The step with the lowest validation loss; None without validation.
        best_on_test: The step with the highest top-1 on the test clips. It is chosen after the
            fact, by the clips that it is measured on, and so is too high as an estimate.
        steps_to_convergence: First step of each fold whose moving mean of the top-1 on test clips
            over five steps reaches 99 % of the largest; None for fewer than five steps.
    """

    unit: str
    last: StepScore
    chosen_on_validation: StepScore | None
    best_on_test: StepScore
    steps_to_convergence: dict[str, int | None]


@dataclass(frozen=True, kw_only=True)
class FoldCurve:
    """Accuracies of one fold after each step.

    Attributes:
        name: Name of the fold.
        num_test: Its test clips.
        top1: Accuracy on its test clips, one for each step; NaN where it is not known.
        top5: The same for the five highest logits.
        chosen: The step that validation chose; None without validation.
    """

    name: str
    num_test: int
    top1: Sequence[float]
    top5: Sequence[float]
    chosen: int | None = None


def summarize_curves(folds: Sequence[FoldCurve], *, unit: str) -> BestAndLast | None:
    """Return the figures of a run's folds; None where a fold has no known accuracy.

    Args:
        folds: The folds that were tested.
        unit: "epoch" or "round".
    """
    if not folds or any(np.isnan(np.array([f.top1, f.top5], np.float64)).any() for f in folds):
        return None
    if any(not fold.top1 for fold in folds):
        return None
    chosen = {fold.name: fold.chosen for fold in folds if fold.chosen is not None}
    return BestAndLast(
        unit=unit,
        last=_score(folds, {fold.name: len(fold.top1) for fold in folds}),
        chosen_on_validation=_score(folds, chosen) if len(chosen) == len(folds) else None,
        best_on_test=_score(folds, {f.name: int(np.argmax(f.top1)) + 1 for f in folds}),
        steps_to_convergence={fold.name: converged_at(fold.top1) for fold in folds},
    )


def _score(folds: Sequence[FoldCurve], steps: Mapping[str, int]) -> StepScore:
    weights = [fold.num_test for fold in folds]

    def mean(curves: Sequence[Sequence[float]]) -> float:
        values = [curve[steps[fold.name] - 1] for fold, curve in zip(folds, curves, strict=True)]
        return min(1.0, float(np.average(values, weights=weights)))

    return StepScore(
        steps=dict(steps),
        top1=mean([fold.top1 for fold in folds]),
        top5=mean([fold.top5 for fold in folds]),
    )


def converged_at(top1: Sequence[float]) -> int | None:
    """Return the first step whose moving mean reaches 99 % of the largest, from 1, or None."""
    if len(top1) < WINDOW:
        return None
    means: NDArray[np.float64] = np.convolve(top1, np.full(WINDOW, 1 / WINDOW), mode="valid")
    reached = np.flatnonzero(means >= CONVERGED_AT * means.max() - 1e-12)
    return int(reached[0]) + WINDOW
