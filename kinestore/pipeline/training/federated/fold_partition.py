"""The clips of a fold by client."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.training.fold import Fold
from kinestore.store import Features


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldPartition:
    """The clips of one fold, by client.

    Attributes:
        fold: The fold.
        parts: Training clips of each client, as numbers into all rows.
        test_parts: Test clips of each client, as numbers into the fold's.
        validation_parts: Validation clips of each client, as numbers into the fold's.
        left_out: Number of training clips of each client that has too few to take part; its part is
            empty.
        num_unused: Number of training clips that the partition gives to no client.
        num_untested: Number of the fold's test clips that belong to no client and were left out.
    """

    fold: Fold
    parts: list[NDArray[np.int64]]
    test_parts: list[NDArray[np.int64]]
    validation_parts: list[NDArray[np.int64]]
    left_out: dict[int, int]
    num_unused: int
    num_untested: int = 0

    @property
    def trained_fold(self) -> Fold:
        """The fold with the training clips of the clients alone."""
        return replace(self.fold, train=np.concatenate(self.parts))

    @property
    def owners(self) -> NDArray[np.int64]:
        """The client of each of the fold's test clips, int64; -1 where it has none."""
        owners = np.full(len(self.fold.test), -1)
        for client, part in enumerate(self.test_parts):
            owners[part] = client
        return owners

    def with_owned_tests(self) -> "FoldPartition":
        """Return it with the test clips that belong to a client alone."""
        owned = np.flatnonzero(self.owners >= 0)
        return replace(
            self,
            fold=replace(self.fold, test=self.fold.test[owned]),
            test_parts=[np.searchsorted(owned, part) for part in self.test_parts],
            num_untested=len(self.fold.test) - len(owned),
        )


def notes_on_untested(
    rows: Features, before: Sequence[FoldPartition], owned: Sequence[FoldPartition]
) -> Iterator[str]:
    """Yield a sentence on test clips that were left out, as they belong to no client."""
    pairs = zip(before, owned, strict=True)
    lost = [np.setdiff1d(one.fold.test, other.fold.test) for one, other in pairs]
    clips = np.concatenate(lost)
    if len(clips):
        labels = np.unique(rows.labels[clips])
        names = ", ".join(repr(rows.classes[label]) for label in labels[:10])
        more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
        yield (
            f"test clips that belong to no client, and are not tested, as a part of the model is "
            f"private to each client: {len(clips)}, of {names}{more}"
        )
