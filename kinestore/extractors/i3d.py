"""`i3d`: inflated 3-D convolutions on ResNet-50, trained on Kinetics-400.

Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, 2017, on ResNet-50 in the place
of Inception, as PyTorchVideo has it (i3d_r50, 8 frames, 2048-d).

Done differently: the eight frames are a clip's keyframes by default, as in FLAMeST (Federated
Multimodal Fusion for Action Recognition, section 3), where the network was trained on every eighth
frame of 2.1 s.
"""

from functools import partial

from kinestore.extractors import _pytorchvideo
from kinestore.extractors._base import Options
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, create_video
from kinestore.extractors.weights.sources import Source

NAMES = ("i3d",)

NETWORK = VideoNetwork(
    build=partial(_pytorchvideo.build, "i3d_r50"),
    classifier="blocks.6.proj.weight",
    features=_pytorchvideo.pooled,
    width=2048,
    num_frames=8,
    pictures=_pytorchvideo.PICTURES,
    source=_pytorchvideo.zoo("I3D_8x8_R50.pyth"),
)


def source(name: str) -> Source:
    """Where the weights come from by default."""
    return NETWORK.source


def create(name: str, options: Options) -> VideoExtractor:
    """Make the extractor; see `extractors.create` for what is raised."""
    return create_video(name, NETWORK, options)
