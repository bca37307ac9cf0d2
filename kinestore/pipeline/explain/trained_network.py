"""The net of a run folder that somebody hands us, and how it takes its clips.

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
from kinestore.pipeline.training.networks.data.clip_source import counts
from kinestore.pipeline.training.networks.data.transforms import choose_size
from kinestore.pipeline.video.clip_format import (
    ClipFormat,
    parse_clip_formats,
    parse_frames_name,
)
from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors


@dataclass(frozen=True, kw_only=True)
class Look:
    """One centre look at a video, as an epoch's figures are measured by.

    Attributes:
        name: What the run says it was trained on.
        taken: The frames that are taken of a video.
        num_clips: N that these are dealt to, of which the middle one is looked at.
    """

    name: str
    taken: ClipFormat
    num_clips: int

    @property
    def num_segments(self) -> int:
        """S."""
        return counts(self.taken.spec)[0] // self.num_clips

    @property
    def length(self) -> int:
        """L."""
        return counts(self.taken.spec)[1]

    def choose(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Those of the clip, of all that are taken: (S * L, ...)."""
        dealt = frames.reshape(self.num_segments, self.num_clips, self.length, *frames.shape[1:])
        return dealt[:, (self.num_clips - 1) // 2].reshape(-1, *frames.shape[1:])


@dataclass(frozen=True, kw_only=True)
class TrainedNet:
    """A net, ready to be asked.

    Attributes:
        net: In eval mode; of a federated run the common one.
        layers: Where one can look, from its input to its output.
        classes: K names.
        look: Which frames it takes.
        size: Pixels of a side of what it sees.
        in_segments: Whether it takes (B, S, L, 3, H, W), and not (B, T, 3, H, W).
    """

    net: nn.Module
    layers: Mapping[str, FeatureLayer]
    classes: list[str]
    look: Look
    size: int
    in_segments: bool


def read_net(run: str | Path) -> TrainedNet:
    """Read the net of a finished run; no pickle is run.

    Raises:
        UsageError: If it is no finished run of a net that takes frames, or cannot be used.
    """
    config, classes = read_config(run), read_object(run, "summary.json").get("classes")
    head, views, size = (config.get(name) for name in ("head", "features", "size"))
    if not isinstance(head, str) or not _are_names(views):
        raise unusable(run, "config.json: names no head, or no features")
    if not heads.takes_frames(head.partition(":")[0]):
        raise UsageError(
            f"run={Path(run)}: head {head!r} takes embeddings, which have no places to point at; "
            "name a run of a net that takes frames, as `kinestore train --head differential "
            "--input frames` makes it"
        )
    if not _are_names(classes) or len(set(classes)) < len(classes):
        raise unusable(run, "summary.json: names no classes, or one twice")
    if type(size) is not int:
        raise unusable(run, f"config.json: size={size!r} is no number of pixels")
    look = _read_look(run, views, config.get("looks"))
    net = _build(run, head, look=look, num_classes=len(classes), size=size)
    return TrainedNet(
        net=net.eval(),
        layers=net.feature_layers,
        classes=classes,
        look=look,
        size=choose_size(size, look.taken.size),
        in_segments=takes_segments(head),
    )


def _read_look(run: str | Path, views: list[str], looks: object) -> Look:
    (name, *others), clips = views, looks.get("clips") if isinstance(looks, dict) else None
    if others or type(clips) is not int or clips < 1:
        raise unusable(run, "config.json: does not say how the net looks at a video")
    where, _, text = name.partition(":")
    if where == "videos":
        (taken,) = parse_clip_formats([text]).values()
        return Look(name=name, taken=taken, num_clips=1)  # it draws as many segments as it takes
    taken = parse_frames_name(name)
    if counts(taken.spec)[0] % clips:
        raise unusable(run, f"config.json: {clips} clips do not divide the segments of {name}")
    return Look(name=name, taken=taken, num_clips=clips)


def _build(run: str | Path, head: str, *, look: Look, num_classes: int, size: int) -> Any:
    """The net with the run's weights: it takes memory only once its shapes are the file's."""
    path = Path(run) / "model.safetensors"
    state = {
        name.removeprefix(RUN_PREFIX): tensor
        for name, tensor in read_tensors(path).items()
        if name.startswith(RUN_PREFIX)
    }
    try:
        with torch.device("meta"):
            net = build_net(
                head, num_classes=num_classes, source=look, size=size, weights=None, seed=0
            )
    except (ArithmeticError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise unusable(run, f"config.json: head {head!r} cannot be built: {reason}") from error
    check_state(net, state, path)
    net.to_empty(device="cpu").load_state_dict(state)
    return net


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def frame_numbers(look: Look, num_frames: int) -> NDArray[np.int64]:
    """The frames of a video of so many that the clip has: int64, shape (S * L,)."""
    return look.choose(look.taken.indices(num_frames))
