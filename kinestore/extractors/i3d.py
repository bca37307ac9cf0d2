"""`i3d`: inflated 3-D convolutions on ResNet-50, trained on Kinetics-400.

Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, 2017, on ResNet-50 in the place
of Inception, as PyTorchVideo has it (i3d_r50, 8 frames, 2048-d).

Done differently: the eight frames are a clip's keyframes by default, as in FLAMeST (Federated
Multimodal Fusion for Action Recognition, section 3), where the network was trained on every eighth
frame of 2.1 s.
"""

from functools import partial

from kinestore.extractors import _pytorchvideo
from kinestore.extractors._base import ExtractorOptions
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, build_video_extractor
from kinestore.extractors.weights.sources import WeightSource

NAMES = ("i3d",)

NETWORK = VideoNetwork(
    build=partial(_pytorchvideo.hub_network, "i3d_r50"),
    classifier="blocks.6.proj.weight",
    features=_pytorchvideo.pooled_features,
    width=2048,
    num_frames=8,
    preprocessing=_pytorchvideo.KINETICS_PREPROCESSING,
    source=_pytorchvideo.zoo_file("I3D_8x8_R50.pyth"),
)


def source(name: str) -> WeightSource:
    """Return the default source of the weights."""
    return NETWORK.source


def build(name: str, options: ExtractorOptions) -> VideoExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    return build_video_extractor(name, NETWORK, options)
