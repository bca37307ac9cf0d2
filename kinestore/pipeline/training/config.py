"""Settings of training jobs, as the command line and Python set them."""

import math
from dataclasses import dataclass, replace

from kinestore.store import Features, UsageError


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Choice of test and validation clips.

    At most one of `split`, `cv` and `folds` is given. With none of them the split column decides if
    it has both "train" and "test"; else a fifth of each class is tested.

    Attributes:
        split: "column" to require the split column, or the name of a column of the user's own that
            has such marks; "random:0.3" to test this share of each class, drawn by the seed,
            whatever the split column says.
        test_split: Mark of the clips that are tested, such as "val"; None for those whose mark
            means test clips.
        cv: "group", or a column of the user's own, to leave one of its values out at a time.
        folds: Number of stratified folds, 2 or more.
        validation: Share of each fold's training clips to use for validation, above 0 and below 1:
            drawn by class, or whole groups with `cv`. None for those that the split column marks
            "val" or "validation".
        patience: Epochs, or rounds, without a lower validation loss after which training stops, 1
            or more.
    """

    split: str | None = None
    test_split: str | None = None
    cv: str | None = None
    folds: int | None = None
    validation: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if sum(choice is not None for choice in (self.split, self.cv, self.folds)) > 1:
            raise UsageError(
                f"split={self.split!r}, cv={self.cv!r}, folds={self.folds}: give one of them at "
                "most"
            )
        drawn = self.random_share is not None
        if self.test_split is not None and (drawn or self.cv is not None or self.folds is not None):
            raise UsageError(
                f"test_split={self.test_split!r}: is a mark of a split column; leave out cv, folds "
                "and a random split"
            )
        if self.validation is not None and not 0 < self.validation < 1:
            raise UsageError(f"validation={self.validation}: must be above 0 and below 1")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience={self.patience}: must be 1 or more")

    @property
    def random_share(self) -> float | None:
        """The share of clips that is drawn for the test, or None where they are not drawn so."""
        kind, _, text = str(self.split).partition(":")
        if self.split is None or (kind != "random" and not text):
            return None
        try:
            share = float(text or "nan")
        except ValueError:
            share = math.nan
        if kind != "random" or not 0 < share < 1:
            raise UsageError(
                f"split={self.split!r}: must be 'column', the name of a column, or 'random:0.3' "
                "with a share above 0 and below 1"
            )
        return share

    @property
    def split_column(self) -> str | None:
        """The column with the marks, where one is named."""
        if self.random_share is not None or (self.split is None and self.test_split is None):
            return None
        return "split" if self.split in (None, "column") else self.split

    def choose_columns(self, features: Features) -> Features:
        """Return the clips with the groups and splits of the columns that are named.

        Raises:
            UsageError: If there is no such column.
        """
        groups, splits = features.groups, features.splits
        try:
            if self.cv is not None:
                groups = features.column(self.cv)
            if (marks := self.split_column) is not None:
                splits = features.column(marks)
        except UsageError as error:
            named = f"split={self.split!r}" if self.cv is None else f"cv={self.cv!r}"
            raise UsageError(f"{named}: {error}") from None
        return replace(features, groups=groups, splits=splits)


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """Clients, their clips and the rounds of federated training.

    Attributes:
        strategy: One of `federated.names()`, with settings as `model_spec` reads them.
        num_clients: Number of clients, 1 or more.
        rounds: Rounds of communication, 1 or more.
        partition: Which clients hold which clips: one of `PARTITIONS`, such as "iid" for even
            shares of every class or "group" to keep each group with one client.
        clients_per_round: Number of clients drawn for each round; None takes all.
        min_clips: Training clips that a client needs to take part, 1 or more. The mean and
            deviation of fewer than 3 clips would give their features away, so that clients with
            fewer never send theirs.
        checkpoint_every: Rounds between two checkpoints in the run folder, 1 or more.
        resume: Continue from the run folder's checkpoints, to the same bits unless there is noise,
            which is drawn again; start where there are none. A run that is finished is only read.
    """

    strategy: str = "fedavg"
    num_clients: int = 4
    rounds: int = 80
    partition: str = "iid"
    clients_per_round: int | None = None
    min_clips: int = 3
    checkpoint_every: int = 10
    resume: bool = False

    def __post_init__(self) -> None:
        if self.min_clips < 1:
            raise UsageError(f"min_clips={self.min_clips}: must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class EvaluationViews:
    """Views of a test video whose logits are averaged.

    Attributes:
        num_clips: Clips of each video, 1 or more; training draws one of them.
        num_crops: Crops of each clip, 1 (the center) or 3 (along the longer side).
    """

    num_clips: int = 1
    num_crops: int = 1

    def __post_init__(self) -> None:
        if self.num_clips < 1:
            raise UsageError(f"num_clips={self.num_clips}: must be 1 or more")
        if self.num_crops not in (1, 3):
            raise UsageError(f"num_crops={self.num_crops}: must be 1 or 3")


CENTER_VIEW = EvaluationViews()
"""A single view, by which the figures of an epoch are measured."""
