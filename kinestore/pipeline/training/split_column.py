"""The split column: which of its marks mean training, validation and test clips."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kinestore.pipeline.video.split_words import split_meaning
from kinestore.store import UsageError

_REMEDY = (
    "name them train, val and test in the manifest and extract again, or choose folds=K or "
    "cv='group' instead"
)


@dataclass(frozen=True, kw_only=True)
class SplitColumn:
    """The marks of each part, as they are written.

    Attributes:
        train: Marks of the clips that are trained on.
        test: Marks of the clips that are tested.
        validation: Marks of the clips that choose the best epoch.
        unused: Number of clips by each other mark, or by None.
        name: Name of the column.
    """

    train: frozenset[str]
    test: frozenset[str]
    validation: frozenset[str]
    unused: Counter[str | None]
    name: str = "split"

    @property
    def description(self) -> str:
        """Name of the evaluation, with the marks where they are not "train" and "test"."""
        if self.train == {"train"} and self.test == {"test"}:
            return _title(self.name)
        return (
            f"{_title(self.name)}: trained on {_listed(self.train)}, tested on {_listed(self.test)}"
        )

    def notes(self) -> Iterator[str]:
        """Yield a sentence on each reading that the user may not expect."""
        if self.description != _title(self.name):
            chosen = f", best epoch by {_listed(self.validation)}" if self.validation else ""
            yield f"{self.description}{chosen}"
        if self.unused:
            listed = ", ".join(
                f"{count} marked {mark!r}" if mark else f"{count} without a mark"
                for mark, count in self.unused.most_common(10)
            )
            yield f"{_title(self.name)}: clips that are neither trained on nor tested: {listed}"


def read_split_column(
    splits: Sequence[str | None], *, name: str = "split", tested: str | None = None
) -> SplitColumn:
    """Return the parts that the marks name.

    Args:
        splits: Mark of each clip, or None.
        name: Name of the column.
        tested: Mark of the clips to test, or a word that means the same; None for those whose mark
            means test clips.

    Raises:
        UsageError: If the marks do not say which clips are trained on and which are tested.
    """
    counts = Counter(splits)
    by_meaning, test = _by_meaning(splits), test_marks(splits, tested=tested)
    marks = frozenset(mark for mark in counts if mark is not None)
    validation = (by_meaning["val"] | by_meaning["eval"]) - test
    train = by_meaning["train"] - test
    if not marks:
        raise UsageError(
            f"split={'column' if name == 'split' else name!r}: no labeled clip is marked; give the "
            "manifest a split column, or leave out split"
        )
    if not train or not test:
        listed = _listed(marks) + (" and none" if counts[None] else "")
        raise UsageError(
            f"{_title(name)}: its marks {listed} do not say which clips are trained on and which "
            f"are tested; {_REMEDY}"
        )
    used = train | test | validation
    unused = Counter({mark: count for mark, count in counts.items() if mark not in used})
    return SplitColumn(train=train, test=test, validation=validation, unused=unused, name=name)


def test_marks(splits: Sequence[str | None], *, tested: str | None = None) -> frozenset[str]:
    """Return the marks of the clips to test, as `read_split_column` reads them; there may be none.

    Raises:
        UsageError: If no clip has the mark `tested`.
    """
    if tested is not None:
        return _marks_like(tested, {m: split_meaning(m) for m in splits if m is not None})
    by_meaning = _by_meaning(splits)
    return by_meaning["test"] or by_meaning["eval"] or by_meaning["val"]


def _by_meaning(splits: Sequence[str | None]) -> dict[str, frozenset[str]]:
    marks = {mark: split_meaning(mark) for mark in set(splits) if mark is not None}
    return {
        meaning: frozenset(mark for mark, meant in marks.items() if meant == meaning)
        for meaning in ("train", "val", "test", "eval")
    }


def _title(name: str) -> str:
    return "split column" if name == "split" else f"split column {name!r}"


def _marks_like(tested: str, marks: Mapping[str, str | None]) -> frozenset[str]:
    """Return the mark itself, or all that mean the same."""
    if tested in marks:
        return frozenset([tested])
    meaning = split_meaning(tested)
    alike = frozenset(mark for mark, meant in marks.items() if meant == meaning is not None)
    if not alike:
        raise UsageError(
            f"test_split={tested!r}: no labeled clip has that mark; the marks are "
            f"{_listed(frozenset(marks))}"
        )
    return alike


def all_alike(splits: Sequence[str | None]) -> bool:
    """Return whether all clips have one mark, as after a choice of one part."""
    return len(set(splits)) == 1


def _listed(marks: frozenset[str]) -> str:
    listed = [repr(mark) for mark in sorted(marks)]
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return ", ".join(listed[:10]) + more
