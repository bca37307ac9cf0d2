"""Stored features as training data of a head."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.standardization import federated_standardizer
from kinestore.heads import FeatureSamples, predict_logits
from kinestore.heads.support.validation import check_rows, to_features, to_labels
from kinestore.pipeline.training.data import PreparedData
from kinestore.pipeline.training.folds import keep_labeled
from kinestore.pipeline.training.model_spec import read_head
from kinestore.store import Features


class FeatureData:
    """Rows of stored features, and the head that learns them.

    Args:
        features: As `Store.load` gives them, with rows (N, D), or (N, T, D) for a temporal head.
        head: One of `heads.names()`, with settings as `model_spec` reads them.
        seed: Seed of the first weights, 0 or more.
        device: Where the head is trained.
        standardize: As in `TrainingConfig`.
    """

    num_changed: int | None = None

    def __init__(
        self,
        features: Features,
        *,
        head: str,
        seed: int,
        device: torch.device,
        standardize: str = "train",
    ) -> None:
        self.rows = keep_labeled(features)
        self.num_unlabeled = len(features.labels) - len(self.rows.labels)
        self._head, self._seed, self._device = read_head(head), seed, device
        self._standardize = standardize

    def describe(self) -> dict[str, object]:
        """Return the entry of config.json from which the head can be built again."""
        shape = self.rows.features.shape
        return {
            "input": {
                "features": self.rows.feature_names,
                "widths": self.rows.widths,
                "num_frames": shape[1] if len(shape) == 3 else None,
            }
        }

    def new_model(self) -> nn.Module:
        """Build the head before training, on its device."""
        return self._head.create(self.rows, seed=self._seed).to(self._device)

    def check(self, model: nn.Module) -> None:
        """Refuse rows that are not finite or that the head does not take."""
        to_features(self.rows.features)
        first = to_features(self.rows.features[:1])
        check_rows(model.cpu(), first, to_labels(self.rows.labels[:1]))

    def prepare(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        measured: Sequence[NDArray[np.int64]] | None = None,
    ) -> PreparedData:
        """Standardize by the statistics of rows."""
        if self._standardize == "none":
            measured = []
        standardizer, traffic = federated_standardizer(
            self.rows.features,
            parts if measured is None else measured,
            num_receivers=sum(len(part) > 0 for part in parts),
        )
        ready = to_features(standardizer.apply(self.rows.features))
        labels = to_labels(self.rows.labels)

        def logits(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return predict_logits(model, ready[numbers])

        return PreparedData(
            clients=[FeatureSamples(features=ready[part], labels=labels[part]) for part in parts],
            predict=logits,
            predict_final=logits,
            standardizer=standardizer,
            traffic=traffic,
        )
