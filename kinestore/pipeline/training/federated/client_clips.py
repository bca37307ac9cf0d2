"""Clips of frames as the clients of a federated job learn from them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.client_data import OnGradients
from kinestore.federated.communication_cost import Traffic
from kinestore.pipeline.training.federated.fold_simulation import Prepared
from kinestore.pipeline.training.networks.config import NetSettings
from kinestore.pipeline.training.networks.data.batches import Examples
from kinestore.pipeline.training.networks.distributed import Processes
from kinestore.pipeline.training.networks.sgd import Diverged, Training
from kinestore.pipeline.training.networks.task import CENTRE, COLOURS, NetTask
from kinestore.store import Features


@dataclass(frozen=True, kw_only=True)
class FrameClips:
    """Clips for a net, as `pipeline.federation` takes them.

    Attributes:
        task: The net, and all clips.
    """

    task: NetTask

    @property
    def rows(self) -> Features:
        """The labelled clips."""
        return self.task.rows

    def new_model(self) -> nn.Module:
        """The net before training, on the device."""
        return self.task.new_net()

    def check(self, model: nn.Module) -> None:
        """Refuse clips that it does not take."""
        self.task.check(model)

    def prepare(self, parts: Sequence[NDArray[np.int64]]) -> Prepared:
        """Nothing is agreed on: colours are scaled alike everywhere."""

        def centre(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return self.task.predict(model, numbers, CENTRE)

        def all_looks(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return self.task.predict(model, numbers, self.task.looks)

        return Prepared(
            clients=[
                LocalClips(
                    examples=self.task.examples,
                    rows=part,
                    settings=self.task.settings,
                    processes=self.task.processes,
                )
                for part in parts
            ],
            predict=centre,
            predict_last=all_looks,
            standardiser=COLOURS,
            setup=Traffic(parameters_up=0, parameters_down=0, bytes_up=0, bytes_down=0),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalClips:
    """One client's clips, and how it trains a net on them in one round.

    Attributes:
        examples: All clips, of which it reads its own.
        rows: Their numbers.
        settings: The epochs are the local epochs.
        processes: Where it computes.
    """

    examples: Examples
    rows: NDArray[np.int64]
    settings: NetSettings
    processes: Processes

    def __len__(self) -> int:
        return len(self.rows)

    def fit(self, model: nn.Module, *, seed: int, on_gradients: OnGradients | None) -> float:
        """Train by SGD with a velocity that starts from rest.

        Cuts and frames are drawn anew in each round. A net that diverges is left full of NaN,
        which no server takes.
        """
        training = Training(
            model,
            replace(self.examples, seed=seed),
            settings=self.settings,
            seed=seed,
            processes=self.processes,
            on_gradients=on_gradients,
        )
        try:
            for number in range(1, self.settings.epochs + 1):
                loss = training.epoch(number, self.rows).loss
        except Diverged:
            loss = float("nan")
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(loss)
        model.eval()
        return loss

    def identity(self) -> str:
        """A hash of which clips they are, how they are seen and how they are trained on."""
        known = {
            "source": self.examples.source.name,
            "clips": [self.examples.clip_ids[row] for row in self.rows],
            "labels": self.examples.labels[self.rows].tolist(),
            "mirrored": self.examples.mirrored.tolist(),
            "size": self.examples.size,
            "settings": asdict(self.settings),
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
