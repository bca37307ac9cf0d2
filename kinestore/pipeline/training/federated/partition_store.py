"""A client partition of a store's clips, drawn without training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.plotting.partition_chart import draw_partition
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.federated.client_partition import partition_clips
from kinestore.pipeline.training.folds import choose_folds, keep_labeled
from kinestore.store import Store, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.load import describe_clips

_SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True, eq=False)
class DividedClips:
    """A partition of labeled clips among clients.

    Attributes:
        partition: One of `PARTITIONS`, with its numbers.
        seed: The seed that it was drawn with.
        classes: Names of the classes.
        counts: Clips by client and class, int64, shape (C, K).
        clips: clip_ids of each client.
        num_unused: Labeled clips that no client has.
        num_unlabeled: Clips that were left out because they have no label.
    """

    partition: str
    seed: int
    classes: list[str]
    counts: NDArray[np.int64]
    clips: list[list[str]]
    num_unused: int
    num_unlabeled: int

    @property
    def num_used(self) -> int:
        """Number of clips that clients have."""
        return int(self.counts.sum())

    @property
    def sizes(self) -> list[int]:
        """Number of clips of each client."""
        return [int(size) for size in self.counts.sum(1)]

    @property
    def num_classes(self) -> list[int]:
        """Number of classes that each client has a clip of."""
        return [int(count) for count in (self.counts > 0).sum(1)]

    def to_json(self) -> dict[str, object]:
        """Return what `kinestore partition --json` prints."""
        return {
            "partition": self.partition,
            "clients": len(self.clips),
            "seed": self.seed,
            "num_used": self.num_used,
            "num_unused": self.num_unused,
            "num_unlabeled": self.num_unlabeled,
            "client_sizes": self.sizes,
            "client_num_classes": self.num_classes,
            "classes": self.classes,
            "counts": self.counts.tolist(),
        }


def partition(
    store: Store,
    *,
    partition: str = "iid",
    num_clients: int = 4,
    seed: int = 0,
    split: str | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    out: str | Path | None = None,
) -> DividedClips:
    """Divide a store's labeled clips among clients as `federate` does, without training.

    Args:
        store: The store; no features are read.
        partition: One of `PARTITIONS`, such as "client-dirichlet:1".
        num_clients: Number of clients, 1 or more.
        seed: 0 or more.
        split: "column" to divide the clips that the split column marks for training alone, or a
            column of the user's own with such marks; None for all labeled clips.
        columns: Columns of the user's own that stand in for "label" and "group".
        out: Picture to write, .png, .pdf or .svg: the share of all clips by class and client.

    Raises:
        UsageError: If the partition, the clips or the suffix do not allow it.
    """
    if out is not None and local_path(out).suffix.lower() not in _SUFFIXES:
        raise UsageError(f"out={out}: the suffix must be one of {', '.join(_SUFFIXES)}")
    if out is not None:
        check_replaceable(local_path(out))
    newest = {str(row["clip_id"]): row for row in store.sources()}
    clip_ids = sorted(newest)
    nothing = np.zeros((len(clip_ids), 0), np.float32)
    found = describe_clips(nothing, clip_ids, rows=newest, views=[], widths=[])
    rows = keep_labeled(found.with_columns(**columns))
    divided = np.arange(len(rows.labels))
    if split is not None:
        _, (fold,) = choose_folds(rows, EvaluationConfig(split=split), seed=seed)
        divided = fold.train
    parts = partition_clips(rows, divided, clients=num_clients, partition=partition, seed=seed)
    held = [np.bincount(rows.labels[part], minlength=len(rows.classes)) for part in parts]
    shared = DividedClips(
        partition=partition,
        seed=seed,
        classes=rows.classes,
        counts=np.stack(held).astype(np.int64),
        clips=[[rows.clip_ids[row] for row in part] for part in parts],
        num_unused=len(divided) - sum(map(len, parts)),
        num_unlabeled=len(clip_ids) - len(rows.labels),
    )
    if out is not None:
        draw_partition(local_path(out), shared.counts, classes=shared.classes)
    return shared
