"""Stored features as training data of a head."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.communication_cost import NO_TRAFFIC, Traffic
from kinestore.federated.standardization import federated_standardizer
from kinestore.heads import (
    HEAD_TRAINING,
    FeatureSamples,
    Standardizer,
    TrainingConfig,
    predict_logits,
)
from kinestore.heads.support.standardizer import Moments, moments_of
from kinestore.heads.support.step_mask import join_mask, takes_joined_mask
from kinestore.heads.support.validation import check_rows, to_features, to_labels
from kinestore.pipeline.training.data import PreparedData
from kinestore.pipeline.training.folds import keep_labeled
from kinestore.pipeline.training.label_sets import has_several, targets_of
from kinestore.pipeline.training.model_spec import read_head
from kinestore.pipeline.training.start_weights import read_start
from kinestore.store import Features, UsageError


class FeatureData:
    """Rows of stored features, and the head that learns them.

    Args:
        features: As `Store.load` gives them, with rows (N, D), or (N, T, D) for a temporal head.
        head: One of `heads.names()`, with settings as `model_spec` reads them.
        seed: Seed of the first weights, 0 or more.
        device: Where the head is trained.
        training: How it is trained: its weights to start from, and whether features are scaled.
        least_classes: Classes that must have a row; 1 for a client, which may have one alone.
        several: Whether clips may have several labels.
    """

    num_changed: int | None = None

    def __init__(
        self,
        features: Features,
        *,
        head: str,
        seed: int,
        device: torch.device,
        training: TrainingConfig = HEAD_TRAINING,
        least_classes: int = 2,
        several: bool = False,
    ) -> None:
        self.rows = keep_labeled(features, least_classes=least_classes, several=several)
        self.num_unlabeled = len(features.labels) - len(self.rows.labels)
        _check_mask(self.rows)
        self._head, self._seed, self._device = read_head(head), seed, device
        self._standardize = training.standardize
        self._start = None if training.weights is None else read_start(training.weights)
        self.weights_taken: str | None = None
        if self._start is not None and self._start.features not in (None, self.rows.views):
            raise UsageError(
                f"weights {self._start.path}: were trained on {', '.join(self._start.features)}, "
                f"and these are {', '.join(self.rows.views)}; give weights of the same features"
            )

    def describe(self) -> dict[str, object]:
        """Return the entry of config.json from which the head can be built again."""
        shape = self.rows.features.shape
        return {
            **({"columns": dict(taken)} if (taken := self.rows.taken_from) else {}),
            **({"several_labels": True} if has_several(self.rows) else {}),
            "input": {
                "features": self.rows.feature_names,
                "widths": self.rows.widths,
                "num_frames": shape[1] if len(shape) == 3 else None,
                **({"prompts": dict(prompts)} if (prompts := self.rows.prompts) else {}),
            },
        }

    def example(self) -> Tensor:
        """Return the shape of one row, without a mask, on the meta device."""
        return torch.empty(1, *self.rows.features.shape[1:], device="meta")

    def new_model(self, seed: int | None = None) -> nn.Module:
        """Build the head before training, on its device."""
        head = self._head.create(self.rows, seed=self._seed if seed is None else seed)
        if self._start is not None:
            self.weights_taken = self._start.load_into(head, classes=self.rows.classes)
        head = head.to(self._device)
        return head if self.rows.mask is None else takes_joined_mask(head)

    def check(self, model: nn.Module) -> None:
        """Refuse rows that are not finite or that the head does not take."""
        to_features(self.rows.features)
        first = self._with_mask(to_features(self.rows.features[:1]), slice(1))
        check_rows(model.cpu(), first, to_labels(self.rows.labels[:1]).clamp(min=0))

    def prepare(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        measured: Sequence[NDArray[np.int64]] | None = None,
    ) -> PreparedData:
        """Standardize by the statistics of rows."""
        if self._standardize == "none":
            measured = []
        features, rows = _frames_alone(self.rows, parts if measured is None else measured)
        standardizer, traffic = federated_standardizer(
            features, rows, num_receivers=sum(len(part) > 0 for part in parts)
        )
        return self.prepare_with(standardizer, parts, traffic=traffic)

    def moments(self, part: NDArray[np.int64]) -> Moments:
        """Return count, mean and squared deviation of each column, of one row or more."""
        features, (rows,) = _frames_alone(self.rows, [part])
        return moments_of(features[rows])

    def prepare_with(
        self,
        standardizer: Standardizer,
        parts: Sequence[NDArray[np.int64]],
        *,
        traffic: Traffic = NO_TRAFFIC,
    ) -> PreparedData:
        """Standardize by statistics that were agreed on; otherwise as `prepare`."""
        ready = self._with_mask(to_features(standardizer.apply(self.rows.features)), slice(None))
        labels = to_labels(self.rows.labels)
        if has_several(self.rows):
            labels = torch.from_numpy(targets_of(self.rows))

        def logits(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return predict_logits(model, ready[numbers])

        return PreparedData(
            clients=[FeatureSamples(features=ready[part], labels=labels[part]) for part in parts],
            predict=logits,
            predict_final=logits,
            standardizer=standardizer,
            traffic=traffic,
        )

    def _with_mask(self, ready: Tensor, rows: slice) -> Tensor:
        return join_mask(ready, None if self.rows.mask is None else self.rows.mask[rows])


def _check_mask(rows: Features) -> None:
    """Refuse a clip without a frame in its sequence, by the name of its file."""
    if rows.mask is not None and not (has_frame := rows.mask.any(1)).all():
        clip = int(np.flatnonzero(~has_frame)[0])
        raise UsageError(
            f"{rows.uris[clip]}: every step of its sequence is masked, as of "
            f"{np.count_nonzero(~has_frame)} clips; extract it again, or leave it out"
        )


def _frames_alone(
    rows: Features, parts: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float32], Sequence[NDArray[np.int64]]]:
    """Return what is measured: rows and their numbers, or the frames of masked sequences."""
    if rows.mask is None:
        return rows.features, parts
    ends = rows.mask.sum(1).cumsum()
    starts = ends - rows.mask.sum(1)
    numbers = [
        np.concatenate([np.arange(starts[row], ends[row]) for row in part]) if len(part) else part
        for part in parts
    ]
    return rows.features[rows.mask], numbers
