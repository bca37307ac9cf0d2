"""`r3d`: an 18-layer residual network of 3-D convolutions, trained on Kinetics-400.

A Closer Look at Spatiotemporal Convolutions for Action Recognition, 2018, as torchvision has it
(r3d_18, 16 frames of 112 x 112, 512-d).

Done differently: by default it sees three keyframes, as in FLAMeST (Federated Multimodal Fusion for
Action Recognition, Table 1); the network was trained on 16 frames in a row at 15 a second, and sees
16 frames with another number of keyframes or another sampling. It takes any number of frames.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._base import ExtractorOptions
from kinestore.extractors._preprocessing import Preprocessing
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, build_video_extractor
from kinestore.extractors.weights.sources import Url, WeightSource

NAMES = ("r3d",)


def _network(num_classes: int) -> nn.Module:
    """Return torchvision's network, with random weights."""
    from torchvision.models.video import r3d_18

    network: nn.Module = r3d_18(num_classes=num_classes)
    return network


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """Return the classifier's input: shape (B, 512)."""
    maps = network.stem(clips_BCTHW)
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps = layer(maps)
    pooled: Tensor = network.avgpool(maps).flatten(1)
    return pooled


NETWORK = VideoNetwork(
    build=_network,
    classifier="fc.weight",
    features=features,
    width=512,
    num_frames=16,
    preprocessing=Preprocessing(
        resize=(128, 171),
        crop=112,
        interpolation="bilinear",
        antialias=False,
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
    ),
    source=Url("https://download.pytorch.org/models/r3d_18-b3b3357e.pth"),
    cpu_batch=2,
    num_keyframes=3,
    any_length=True,
)


def source(name: str) -> WeightSource:
    """Return the default source of the weights."""
    return NETWORK.source


def build(name: str, options: ExtractorOptions) -> VideoExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    return build_video_extractor(name, NETWORK, options)
