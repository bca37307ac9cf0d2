"""The model of a finished run, with its scaling, classes and input.

Shape legend: N clips, T frames, D features, K classes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore import heads
from kinestore.pipeline.models.clip_logits import ClipLogits, ModelInput
from kinestore.pipeline.models.head_model import HeadModel
from kinestore.pipeline.models.network_model import NetworkModel
from kinestore.pipeline.models.saved_run import SavedRun, read_saved_run
from kinestore.pipeline.training.label_sets import probabilities_of
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.store import Store, UsageError


class TrainedModel:
    """A trained head or network of a run.

    Args:
        run: The run.
        client: The client whose own model it is; None takes the common one.
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; of networks on frames.

    Attributes:
        path: The run folder.
        head: Name and settings of the model.
        classes: K names, in the order of the columns of `predict_proba`.
        inputs: What the model takes: names for `Store.load`, or the clips of frames.
        several: Whether each class has a probability of its own, as clips have several labels.
        clients: Clients with a model of their own; empty where all share one.
    """

    def __init__(self, run: SavedRun, *, client: int | None, device: str) -> None:
        run.state_of(client)
        self._client = client
        of_frames = heads.takes_frames(run.head.partition(":")[0])
        self._model = NetworkModel(run, device=device) if of_frames else HeadModel(run)
        self.path, self.head, self.classes = run.path, run.head, run.classes
        self.inputs, self.several = self._model.inputs, run.several
        self.clients = sorted(run.private)

    def __repr__(self) -> str:
        takes, num_classes = ", ".join(self.inputs), len(self.classes)
        return f"TrainedModel({self.head} of {self.path}: {num_classes} classes, takes {takes})"

    def open(self, data: ModelInput) -> ClipLogits:
        """Open clips, so that their identity and labels are known beside the model's logits.

        Raises:
            UsageError: If the model was not trained on such an input.
        """
        return self._model.open(data)

    def choose_views(
        self, store: Store, *, num_clips: int | None = None, num_crops: int | None = None
    ) -> FrameClips:
        """Return the clips of a store as a network sees them with other test-time views.

        Args:
            store: Keeps frames of `num_clips` times as many segments as the network takes; clips
                that are streamed from videos need nothing.
            num_clips: Clips of each video whose logits are averaged; None takes the run's.
            num_crops: Crops of each clip, 1 or 3; None takes the run's.

        Raises:
            UsageError: If the model takes stored features, or the store lacks such frames.
        """
        if isinstance(self._model, HeadModel):
            raise UsageError(
                f"{self.path}: {self.head} takes stored features, which have no test clips or crops"
            )
        return self._model.choose_views(store, num_clips=num_clips, num_crops=num_crops)

    def predict_proba(self, data: ModelInput) -> NDArray[np.float64]:
        """Return the probability of each class, float64, shape (N, K).

        Rows add up to 1, unless the run learned clips with several labels.

        Args:
            data: Features from `Store.load`, an array (N, D) or (N, T, D) of rows as they are
                stored, or a store, whose clips come in the order of `Store.load`.

        Raises:
            UsageError: If the model was not trained on such an input.
        """
        opened = self.open(data)
        logits = opened.logits(self._client, np.arange(len(opened.rows.labels)))
        probabilities: NDArray[np.float64]
        probabilities = probabilities_of(logits, several=self.several).numpy()
        return probabilities

    def predict(self, data: ModelInput) -> list[str]:
        """Return the name of the most probable class of each clip; see `predict_proba`."""
        return [self.classes[best] for best in self.predict_proba(data).argmax(1)]


def load_model(run: str | Path, *, client: int | None = None, device: str = "cpu") -> TrainedModel:
    """Load the model of a finished run; no pickle is loaded.

    Args:
        run: A run folder that `train` or `federate` made.
        client: Number of the client whose own model is wanted, where a federated run has private
            parts; None takes the common model, as a new client has it.
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; of networks on frames.

    Raises:
        UsageError: If it is no finished run, has no such client, or a file cannot be used.
    """
    return TrainedModel(read_saved_run(run), client=client, device=device)
