"""The trained network of a run folder, and the frames that it takes.

Shape legend: S segments of L frames, N clips of a video.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kinestore import heads
from kinestore.heads import FeatureLayer
from kinestore.pipeline.runs.reader import read_config, read_object, unusable
from kinestore.pipeline.training.networks.build_network import (
    RUN_PREFIX,
    build_net,
    check_state,
    takes_segments,
)
from kinestore.pipeline.training.networks.data.clip_source import segments_of
from kinestore.pipeline.training.networks.data.transforms import choose_size
from kinestore.pipeline.video.clip_format import (
    ClipFormat,
    parse_clip_formats,
    parse_frames_name,
)
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.tensors import first_not_finite_tensor, read_tensors


@dataclass(frozen=True, kw_only=True)
class CenterClip:
    """The frames of a video's center clip, by which each epoch is evaluated.

    Attributes:
        name: Clips of frames that the run was trained on.
        taken: The frames that are read of a video.
        num_clips: N clips that these are divided into; the middle one is taken.
    """

    name: str
    taken: ClipFormat
    num_clips: int

    @property
    def num_segments(self) -> int:
        """Number of segments S."""
        return segments_of(self.taken.spec)[0] // self.num_clips

    @property
    def length(self) -> int:
        """Number of frames L of a segment."""
        return segments_of(self.taken.spec)[1]

    def choose(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return the frames of the clip, of all that are read: (S * L, ...)."""
        by_clip = frames.reshape(self.num_segments, self.num_clips, self.length, *frames.shape[1:])
        return by_clip[:, (self.num_clips - 1) // 2].reshape(-1, *frames.shape[1:])


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network.

    Attributes:
        net: In eval mode; of a federated run the global one.
        layers: Layers for Grad-CAM, from its input to its output.
        classes: K names.
        center: The frames that it takes.
        size: Side of its input in pixels.
        in_segments: Whether it takes (B, S, L, 3, H, W), and not (B, T, 3, H, W).
    """

    net: nn.Module
    layers: Mapping[str, FeatureLayer]
    classes: list[str]
    center: CenterClip
    size: int
    in_segments: bool


def read_network(run: str | Path) -> TrainedNetwork:
    """Read the network of a finished run; no pickle is loaded.

    Raises:
        UsageError: If it is no finished run of a network on frames, or cannot be used.
    """
    config, classes = read_config(run), read_object(run, "summary.json").get("classes")
    head, views, size = (config.get(name) for name in ("head", "features", "size"))
    if not isinstance(head, str) or not _are_names(views):
        raise unusable(run, "config.json: names no head, or no features")
    if not heads.takes_frames(head.partition(":")[0]):
        raise UsageError(
            f"run={run}: head {head!r} takes embeddings, which have no places in a frame; "
            "name a run of a network on frames, as `kinestore train --head differential "
            "--input frames` makes it"
        )
    if not _are_names(classes) or len(set(classes)) < len(classes):
        raise unusable(run, "summary.json: names no classes, or one twice")
    if type(size) is not int:
        raise unusable(run, f"config.json: size={size!r} is no number of pixels")
    center = _read_center(run, views, config.get("test_views"))
    net = _build(run, head, center=center, num_classes=len(classes), size=size)
    return TrainedNetwork(
        net=net.eval(),
        layers=net.feature_layers,
        classes=classes,
        center=center,
        size=choose_size(size, center.taken.size),
        in_segments=takes_segments(head),
    )


def _read_center(run: str | Path, views: list[str], test_views: object) -> CenterClip:
    (name, *others) = views
    clips = test_views.get("clips") if isinstance(test_views, dict) else None
    if others or type(clips) is not int or clips < 1:
        raise unusable(run, "config.json: has no valid test-time views")
    where, _, text = name.partition(":")
    if where == "videos":
        (taken,) = parse_clip_formats([text]).values()
        return CenterClip(name=name, taken=taken, num_clips=1)  # as many segments as it takes
    taken = parse_frames_name(name)
    if segments_of(taken.spec)[0] % clips:
        raise unusable(run, f"config.json: {clips} clips do not divide the segments of {name}")
    return CenterClip(name=name, taken=taken, num_clips=clips)


def _build(run: str | Path, head: str, *, center: CenterClip, num_classes: int, size: int) -> Any:
    """Build the network with the run's weights: memory is allocated after shapes are checked."""
    path = local_path(run) / "model.safetensors"
    state = {
        name.removeprefix(RUN_PREFIX): tensor
        for name, tensor in read_tensors(path).items()
        if name.startswith(RUN_PREFIX)
    }
    try:
        with torch.device("meta"):
            net = build_net(
                head, num_classes=num_classes, source=center, size=size, weights=None, seed=0
            )
    except (ArithmeticError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise unusable(run, f"config.json: head {head!r} cannot be built: {reason}") from error
    check_state(net, state, path)
    if (name := first_not_finite_tensor(state)) is not None:
        raise unusable(run, f"{path.name}: {name[:80]!r} holds NaN or infinity")
    net.to_empty(device="cpu").load_state_dict(state)
    return net


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def frame_numbers(center: CenterClip, num_frames: int) -> NDArray[np.int64]:
    """Return the clip's frames in a video of so many: int64, shape (S * L,)."""
    return center.choose(center.taken.indices(num_frames))
