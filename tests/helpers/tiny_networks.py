"""Clips in memory and nets of a few weights, to follow a training step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads.training.loop import Training
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.store import Features
from kinestore.store.load import describe_clips
from tests.helpers.jobs import network_config

FLAT: dict[str, Any] = {"schedule": "constant", "clip_gradients": 1e9}
"""Settings under which a step is plain SGD."""


class InMemory:
    """Clips of 4 frames of 12 x 12, each drawn by its name."""

    name, size, num_segments, length, num_changed = "memory", (12, 12), 4, 1, 0

    def __init__(self, clips: Mapping[str, NDArray[np.uint8]]) -> None:
        self._clips = clips
        self.clip_ids = sorted(clips)

    def training(self, clip_id: str, *, seed: int) -> NDArray[np.uint8]:
        return self._clips[clip_id]

    def testing(self, clip_id: str, *, num_clips: int) -> NDArray[np.uint8]:
        return np.stack([self._clips[clip_id]] * num_clips)


def noise(num_clips: int, *, shape: tuple[int, ...] = (4, 12, 12, 3)) -> InMemory:
    """Clips of noise."""
    rng = np.random.default_rng(5)
    names = [f"{number:032x}" for number in range(num_clips)]
    return InMemory({name: rng.integers(0, 256, shape, np.uint8) for name in names})


def examples(source: InMemory, **changes: Any) -> ClipSamples:
    """Its clips, of three classes in turn, seen at 10 x 10."""
    known: dict[str, Any] = {
        "source": source,
        "clip_ids": source.clip_ids,
        "labels": np.arange(len(source.clip_ids)) % 3,
        "flipped_class": np.arange(3),
        "size": 10,
        "in_segments": False,
        "num_workers": 2,
    }
    return ClipSamples(**{**known, **changes})


def described(source: InMemory) -> Features:
    """Its clips as rows, of the classes "a", "b" and "c" in turn."""
    rows = {
        clip_id: {"label": "abc"[number % 3], "group": None, "split": None, "uri": clip_id}
        for number, clip_id in enumerate(source.clip_ids)
    }
    nothing = np.zeros((len(rows), 0), np.float32)
    return describe_clips(nothing, list(rows), rows=rows, views=[source.name], widths=[])


class Tiny(nn.Module):
    """A convolution over space and time and a classifier, in float64 and without norms."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 5, 3, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(5, 3)
        self.double()

    def forward(self, frames: Tensor) -> Tensor:
        maps = self.conv(frames.double().transpose(1, 2)).relu()
        logits: Tensor = self.classifier(self.dropout(maps.mean((2, 3, 4))))
        return logits


def tiny(seed: int = 0, **settings: Any) -> Tiny:
    """A `Tiny` with weights of the seed."""
    torch.manual_seed(seed)
    return Tiny(**settings)


def trained(
    net: nn.Module,
    given: ClipSamples,
    *,
    epochs: int = 1,
    rows: NDArray[np.int64] | None = None,
    class_weights: Tensor | None = None,
    **settings: Any,
) -> Training:
    """The training of a net after some epochs."""
    own = given if rows is None else given.subset(rows)
    training = Training(
        net,
        own,
        config=network_config(**{"epochs": 9, **settings}),
        seed=0,
        class_weights=class_weights,
    )
    for number in range(1, epochs + 1):
        training.epoch(number, np.arange(len(own)))
    return training
