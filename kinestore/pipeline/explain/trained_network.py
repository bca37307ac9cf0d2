"""The trained network of a run, with the layers whose evidence can be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kinestore import heads
from kinestore.heads import FeatureLayer
from kinestore.pipeline.models.saved_run import read_saved_run
from kinestore.pipeline.models.trained_layout import (
    TrainedLayout,
    build_trained_network,
    read_layout,
)
from kinestore.pipeline.training.networks.build_network import takes_segments
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network.

    Attributes:
        net: In eval mode; of a federated run the global one.
        layers: Layers for Grad-CAM, from its input to its output.
        classes: K names.
        layout: The clips that it takes.
        in_segments: Whether it takes (B, S, L, 3, H, W), and not (B, T, 3, H, W).
    """

    net: nn.Module
    layers: Mapping[str, FeatureLayer]
    classes: list[str]
    layout: TrainedLayout
    in_segments: bool


def read_network(run: str | Path) -> TrainedNetwork:
    """Read the network of a finished run; no pickle is loaded.

    Raises:
        UsageError: If it is no finished run of a network on frames, or cannot be used.
    """
    saved = read_saved_run(run)
    if not heads.takes_frames(saved.head.partition(":")[0]):
        raise UsageError(
            f"run={run}: head {saved.head!r} takes embeddings, which have no places in a frame; "
            "name a run of a network on frames, as `kinestore train --head differential "
            "--input frames` makes it"
        )
    layout = read_layout(saved)
    net: Any = build_trained_network(saved, layout)
    return TrainedNetwork(
        net=net,
        layers=net.feature_layers,
        classes=saved.classes,
        layout=layout,
        in_segments=takes_segments(saved.head),
    )
