"""`r3d`: an 18-layer residual network of 3-D convolutions, trained on Kinetics-400.

A Closer Look at Spatiotemporal Convolutions for Action Recognition, 2018, as torchvision has it
(r3d_18, 16 frames of 112 x 112, 512-d).

Done differently: with keyframes, the default as in FLAMeST (Federated Multimodal Fusion for Action
Recognition, section 3), each of eight is seen twice; the network was trained on 16 frames in a row
at 15 a second.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._base import Options
from kinestore.extractors._preprocessing import Pictures
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, create_video
from kinestore.extractors.weights.sources import Source, Url

NAMES = ("r3d",)


def build(num_classes: int) -> nn.Module:
    """Torchvision's network, with random weights."""
    from torchvision.models.video import r3d_18

    network: nn.Module = r3d_18(num_classes=num_classes)
    return network


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """What the classifier sees: shape (B, 512)."""
    maps = network.stem(clips_BCTHW)
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps = layer(maps)
    pooled: Tensor = network.avgpool(maps).flatten(1)
    return pooled


NETWORK = VideoNetwork(
    build=build,
    classifier="fc.weight",
    features=features,
    width=512,
    num_frames=16,
    pictures=Pictures(
        resize=(128, 171),
        crop=112,
        interpolation="bilinear",
        antialias=False,
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
    ),
    source=Url("https://download.pytorch.org/models/r3d_18-b3b3357e.pth"),
    cpu_batch=2,
)


def source(name: str) -> Source:
    """Where the weights come from by default."""
    return NETWORK.source


def create(name: str, options: Options) -> VideoExtractor:
    """Make the extractor; see `extractors.create` for what is raised."""
    return create_video(name, NETWORK, options)
