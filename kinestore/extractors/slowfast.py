"""`slowfast`: a slow and a fast pathway on ResNet-50, trained on Kinetics-400.

SlowFast Networks for Video Recognition, 2019, as PyTorchVideo has it (slowfast_r50, 32 frames for
the fast pathway, every fourth of them for the slow one, 2304-d = 2048 + 256).

Done differently: with keyframes, the default as in FLAMeST (Federated Multimodal Fusion for Action
Recognition, section 3), the slow pathway sees each of eight keyframes once and the fast one four
times; the fast one adds information only with uniform sampling.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from kinestore.extractors import _pytorchvideo
from kinestore.extractors._base import ExtractorOptions
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, build_video_extractor
from kinestore.extractors.weights.sources import WeightSource

NAMES = ("slowfast",)

_NUM_FRAMES = 32
_ALPHA = 4
"""Frames of the fast pathway for each frame of the slow one."""


def split_pathways(clips_BCTHW: Tensor) -> list[Tensor]:
    """Return the inputs of the slow and the fast pathway."""
    num_frames = clips_BCTHW.shape[2]
    slow = torch.linspace(0, num_frames - 1, num_frames // _ALPHA).long()
    return [clips_BCTHW[:, :, slow.to(clips_BCTHW.device)], clips_BCTHW]


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """Return the features of both pathways: shape (B, 2304)."""
    return _pytorchvideo.pooled_features(network, split_pathways(clips_BCTHW))


NETWORK = VideoNetwork(
    build=partial(_pytorchvideo.hub_network, "slowfast_r50"),
    classifier="blocks.6.proj.weight",
    features=features,
    width=2304,
    num_frames=_NUM_FRAMES,
    preprocessing=_pytorchvideo.KINETICS_PREPROCESSING,
    source=_pytorchvideo.zoo_file("SLOWFAST_8x8_R50.pyth"),
)


def source(name: str) -> WeightSource:
    """Return the default source of the weights."""
    return NETWORK.source


def build(name: str, options: ExtractorOptions) -> VideoExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    return build_video_extractor(name, NETWORK, options)
