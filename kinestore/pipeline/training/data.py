"""The training data of a job, whatever its model takes: stored features or clips of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.communication_cost import Traffic
from kinestore.federated.evaluation import Predict
from kinestore.heads import Standardizer
from kinestore.heads.training.samples import Samples
from kinestore.store import Features


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Training data of one fold, standardized by its training rows alone.

    Attributes:
        clients: Training samples of each client; of one in central training.
        predict: Logits of rows by their numbers, to score an epoch or round by.
        predict_final: The same, to score the final model by.
        standardizer: How the model's input is scaled.
        traffic: Cost of agreeing on the standardizer.
    """

    clients: Sequence[Samples]
    predict: Predict
    predict_final: Predict
    standardizer: Standardizer
    traffic: Traffic


class TrainingData(Protocol):
    """Clips with labels and the model that learns them."""

    @property
    def rows(self) -> Features:
        """The clips that have a label."""

    @property
    def num_unlabeled(self) -> int:
        """Clips left out because they have no label."""

    @property
    def num_changed(self) -> int | None:
        """Clips left out because their video is gone or changed; None for stored features."""

    @property
    def weights_taken(self) -> str | None:
        """A sentence on what `new_model` took of weights to start from; None without any."""

    def describe(self) -> dict[str, object]:
        """Return the entries of config.json that say how clips are presented."""

    def example(self) -> Tensor:
        """Return an input of one clip, of which only the shape counts."""

    def new_model(self, seed: int | None = None) -> nn.Module:
        """Build the model before training, the same each time, on its device.

        Args:
            seed: Seed of the first weights; None for that of the job.
        """

    def check(self, model: nn.Module) -> None:
        """Refuse a model that does not take these clips, before anything is written."""

    def prepare(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        measured: Sequence[NDArray[np.int64]] | None = None,
    ) -> PreparedData:
        """Standardize the samples of clients.

        Args:
            parts: Row numbers of each client.
            measured: Those by which features are scaled, of the clients that send statistics;
                None for all parts, and none for no scaling.
        """
