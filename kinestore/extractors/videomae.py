"""`videomae`: a vision transformer over tubes of 2 x 16 x 16 pixels, fine-tuned on Kinetics-400.

VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training,
2022, as transformers has it (base, 16 frames of 224 x 224, 768-d: the mean over all tubes after its
norm, which is what the classifier sees).

Done differently: with keyframes, the default as in FLAMeST (Federated Multimodal Fusion for Action
Recognition, section 3), both frames of a tube are the same keyframe; the network was trained on
every fourth frame.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._base import Options
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Pictures
from kinestore.extractors._transformers import build as build_empty
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, create_video
from kinestore.extractors.weights.sources import HubRepository, Source
from kinestore.extractors.weights.state_dict import StateDict

NAMES = ("videomae",)


def build(num_classes: int) -> nn.Module:
    """The network of transformers, without weights."""
    transformers = library("transformers")
    config = transformers.VideoMAEConfig(num_labels=num_classes, use_mean_pooling=True)
    network: nn.Module = build_empty(transformers.VideoMAEForVideoClassification, config)
    return network


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """What the classifier sees: shape (B, 768)."""
    tubes = network.videomae(clips_BCTHW.transpose(1, 2)).last_hidden_state
    mean: Tensor = network.fc_norm(tubes.mean(1))
    return mean


def rename(state: StateDict, expected: StateDict) -> StateDict:
    """The publisher's files keep the biases of queries and values beside their layers."""
    return {
        key.replace("attention.q_bias", "attention.query.bias").replace(
            "attention.v_bias", "attention.value.bias"
        ): value
        for key, value in state.items()
    }


NETWORK = VideoNetwork(
    build=build,
    classifier="classifier.weight",
    features=features,
    width=768,
    num_frames=16,
    pictures=Pictures(
        resize=224, crop=224, interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    source=HubRepository(repository="MCG-NJU/videomae-base-finetuned-kinetics"),
    rename=rename,
)


def source(name: str) -> Source:
    """Where the weights come from by default."""
    return NETWORK.source


def create(name: str, options: Options) -> VideoExtractor:
    """Make the extractor; see `extractors.create` for what is raised."""
    return create_video(name, NETWORK, options)
