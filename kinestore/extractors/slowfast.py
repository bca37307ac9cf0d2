"""`slowfast`: a slow and a fast pathway on ResNet-50, trained on Kinetics-400.

SlowFast Networks for Video Recognition, 2019, as PyTorchVideo has it (slowfast_r50, 32 frames for
the fast pathway, every fourth of them for the slow one, 2304-d = 2048 + 256).

Done differently: with keyframes, the default as in FLAMeST (Federated Multimodal Fusion for Action
Recognition, section 3), the slow pathway sees each of eight keyframes once and the fast one four
times over; what the fast one adds it adds with uniform sampling.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from kinestore.extractors import _pytorchvideo
from kinestore.extractors._base import Options
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, create_video
from kinestore.extractors.weights.sources import Source

NAMES = ("slowfast",)

NUM_FRAMES = 32
ALPHA = 4
"""Frames of the fast pathway to one of the slow one."""


def pathways(clips_BCTHW: Tensor) -> list[Tensor]:
    """What the slow and the fast pathway see."""
    num_frames = clips_BCTHW.shape[2]
    slow = torch.linspace(0, num_frames - 1, num_frames // ALPHA).long()
    return [clips_BCTHW[:, :, slow.to(clips_BCTHW.device)], clips_BCTHW]


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """Both pathways' features: shape (B, 2304)."""
    return _pytorchvideo.pooled(network, pathways(clips_BCTHW))


NETWORK = VideoNetwork(
    build=partial(_pytorchvideo.build, "slowfast_r50"),
    classifier="blocks.6.proj.weight",
    features=features,
    width=2304,
    num_frames=NUM_FRAMES,
    pictures=_pytorchvideo.PICTURES,
    source=_pytorchvideo.zoo("SLOWFAST_8x8_R50.pyth"),
)


def source(name: str) -> Source:
    """Where the weights come from by default."""
    return NETWORK.source


def create(name: str, options: Options) -> VideoExtractor:
    """Make the extractor; see `extractors.create` for what is raised."""
    return create_video(name, NETWORK, options)
