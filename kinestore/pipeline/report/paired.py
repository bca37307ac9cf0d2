"""Two sets of predictions, compared clip by clip.

Shape legend: N clips.
"""

from collections import Counter
from dataclasses import dataclass

from scipy.stats import binomtest

from kinestore.pipeline.runs.predictions import Predictions
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """Clips of one class under two runs.

    Attributes:
        name: The class.
        num_clips: Its clips.
        num_first: Those that the first run predicts correctly.
        num_second: Those that the second does.
        gained: Clips that the second alone predicts correctly.
        lost: Clips that the first alone predicts correctly.
    """

    name: str
    num_clips: int
    num_first: int
    num_second: int
    gained: int
    lost: int

    @property
    def change(self) -> float:
        """Recall of the second run minus that of the first, from -1 to 1."""
        return (self.num_second - self.num_first) / self.num_clips


@dataclass(frozen=True, kw_only=True)
class PairedResult:
    """Two runs on the clips that both tested.

    Attributes:
        num_clips: N.
        num_only_first: Clips that the first run alone tested, which are left out.
        num_only_second: Clips that the second run alone tested, which are left out.
        both: Clips that both predict correctly.
        lost: Clips that the first alone predicts correctly.
        gained: Clips that the second alone predicts correctly.
        neither: Clips that neither does.
        classes: Each class, the largest gain first.
    """

    num_clips: int
    num_only_first: int
    num_only_second: int
    both: int
    lost: int
    gained: int
    neither: int
    classes: list[ClassChange]

    @property
    def first_top1(self) -> float:
        """Accuracy of the first run on these clips."""
        return (self.both + self.lost) / self.num_clips

    @property
    def second_top1(self) -> float:
        """Accuracy of the second run on these clips."""
        return (self.both + self.gained) / self.num_clips

    @property
    def p_value(self) -> float:
        """Two-sided p-value of McNemar's exact test; 1 where no clip differs.

        Under the hypothesis that both runs are equally good, a clip on which they differ is as
        likely gained as lost. Source: McNemar, "Note on the sampling error of the difference
        between correlated proportions or percentages", 1947.
        """
        differing = self.lost + self.gained
        return float(binomtest(self.gained, differing, 0.5).pvalue) if differing else 1.0


def compare_predictions(first: Predictions, second: Predictions) -> PairedResult:
    """Pair two runs' predictions by clip.

    Raises:
        UsageError: If they share no clip, or a clip has another label in each.
    """
    one = dict(zip(first.clip_ids, zip(first.labels, first.predicted, strict=True), strict=True))
    two = dict(zip(second.clip_ids, zip(second.labels, second.predicted, strict=True), strict=True))
    shared = sorted(one.keys() & two.keys())
    if not shared:
        raise UsageError("the two runs tested no clip in common; compare runs on the same test set")
    total, outcomes = Counter[str](), Counter[tuple[str, bool, bool]]()
    for clip in shared:
        (label, before), (other, after) = one[clip], two[clip]
        if label != other:
            raise UsageError(
                f"clip {clip}: is {label!r} in the first run and {other!r} in the second; train "
                "both on the same labels"
            )
        total[label] += 1
        outcomes[label, before == label, after == label] += 1
    classes = [
        ClassChange(
            name=name,
            num_clips=num_clips,
            num_first=outcomes[name, True, True] + outcomes[name, True, False],
            num_second=outcomes[name, True, True] + outcomes[name, False, True],
            gained=outcomes[name, False, True],
            lost=outcomes[name, True, False],
        )
        for name, num_clips in sorted(total.items())
    ]
    gained, lost = (sum(getattr(each, kind) for each in classes) for kind in ("gained", "lost"))
    both = sum(each.num_first for each in classes) - lost
    return PairedResult(
        num_clips=len(shared),
        num_only_first=len(one) - len(shared),
        num_only_second=len(two) - len(shared),
        both=both,
        lost=lost,
        gained=gained,
        neither=len(shared) - both - lost - gained,
        classes=sorted(classes, key=lambda each: -each.change),
    )
