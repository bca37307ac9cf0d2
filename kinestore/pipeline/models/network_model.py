"""A trained network on frames, and the clips that it takes.

Shape legend: n clips, K classes.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinestore.heads import NETWORK_TRAINING, TrainingConfig
from kinestore.heads.support.device import choose_device
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.models.clip_logits import ClipLogits, ModelInput
from kinestore.pipeline.models.saved_run import SavedRun
from kinestore.pipeline.models.trained_layout import build_trained_network, read_layout
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.build_network import takes_segments
from kinestore.pipeline.training.networks.clip_data import (
    FrameClips,
    predict_clips,
    rows_of_source,
)
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.pipeline.training.networks.data.clip_source import open_source
from kinestore.store import Store, UsageError


class NetworkModel:
    """A network of a finished run.

    Args:
        run: The run.
        device: "auto" for a GPU if there is one, "cpu" or "cuda".

    Attributes:
        inputs: The clips of frames that it takes, as `FrameClips` reads them.
    """

    def __init__(self, run: SavedRun, *, device: str) -> None:
        self._run, self._layout = run, read_layout(run)
        self._processes = replace(ONE_PROCESS, device=choose_device(device))
        self._training = _read_training(run)
        self.inputs = [self._layout.input]

    def choose_views(
        self, store: Store, *, num_clips: int | None, num_crops: int | None
    ) -> FrameClips:
        """Return the clips of a store for other test-time views than those of the run."""
        views = EvaluationViews(
            num_clips=self._layout.views.num_clips if num_clips is None else num_clips,
            num_crops=self._layout.views.num_crops if num_crops is None else num_crops,
        )
        return self._layout.with_views(store, views)

    def open(self, data: ModelInput) -> ClipLogits:
        """Take the clips of a store; with a store alone they are tested as the run did.

        Of `FrameClips` the store, the input and the views are used: the number of test clips and
        crops may be another than in training.

        Raises:
            UsageError: If the store has no such clips.
        """
        if isinstance(data, Store):
            data = FrameClips(store=data, input=self._layout.input, views=self._layout.views)
        if not isinstance(data, FrameClips):
            raise UsageError(
                f"{type(data).__name__}: {self._run.head} takes clips of frames; give a store, or "
                "kinestore.FrameClips"
            )
        views = data.views
        source = open_source(data.store, data.input, num_clips=views.num_clips)
        self._layout.check(source)
        rows = rows_of_source(data.store, source)
        num_classes = len(self._run.classes)
        samples = ClipSamples(
            source=source,
            clip_ids=rows.clip_ids,
            labels=np.zeros(len(rows.labels), np.int64),
            flipped_class=np.arange(num_classes),
            size=self._layout.size,
            in_segments=takes_segments(self._run.head),
            num_workers=self._processes.num_workers,
        )

        def logits(client: int | None, numbers: NDArray[np.int64]) -> Tensor:
            return predict_clips(
                build_trained_network(self._run, self._layout, client=client).to(
                    self._processes.device
                ),
                samples,
                numbers,
                num_classes=num_classes,
                views=views,
                training=self._training,
                processes=self._processes,
            )

        return ClipLogits(rows=rows, logits=logits)


def _read_training(run: SavedRun) -> TrainingConfig:
    """Read what decides the bits of a prediction: the batch size and the precision."""
    settings = run.config.get("settings")
    if not isinstance(settings, dict) or type(settings.get("batch_size")) is not int:
        raise unusable(run.path, "config.json: settings have no batch_size")
    return replace(
        NETWORK_TRAINING,
        batch_size=settings["batch_size"],
        precision=settings.get("precision"),
    )
