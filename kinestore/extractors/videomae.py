"""`videomae`: a vision transformer over tubes of 2 x 16 x 16 pixels, fine-tuned on Kinetics-400.

VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training,
2022, as transformers has it (base, 16 frames of 224 x 224, 768-d: the classifier's input, the mean
over all tubes after its norm).

Done differently: by default it sees 16 keyframes, as in FLAMeST (Federated Multimodal Fusion for
Action Recognition, Table 1); the network was trained on every fourth frame. With eight keyframes
both frames of a tube are the same one.

Shape legend: B batch, C channels, T frames, H height, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._base import ExtractorOptions
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinestore.extractors._transformers import build_on_meta
from kinestore.extractors._video_network import VideoExtractor, VideoNetwork, build_video_extractor
from kinestore.extractors.weights.sources import HubRepository, WeightSource
from kinestore.extractors.weights.state_dict import StateDict

NAMES = ("videomae",)


def _network(num_classes: int) -> nn.Module:
    """Return the network of transformers, without weights."""
    transformers = library("transformers")
    config = transformers.VideoMAEConfig(num_labels=num_classes, use_mean_pooling=True)
    network: nn.Module = build_on_meta(transformers.VideoMAEForVideoClassification, config)
    return network


def features(network: Any, clips_BCTHW: Tensor) -> Tensor:
    """Return the classifier's input: shape (B, 768)."""
    tubes = network.videomae(clips_BCTHW.transpose(1, 2)).last_hidden_state
    mean: Tensor = network.fc_norm(tubes.mean(1))
    return mean


def _rename(state: StateDict, expected: StateDict) -> StateDict:
    """Rename the biases of queries and values, which published files store beside their layers."""
    return {
        key.replace("attention.q_bias", "attention.query.bias").replace(
            "attention.v_bias", "attention.value.bias"
        ): value
        for key, value in state.items()
    }


NETWORK = VideoNetwork(
    build=_network,
    classifier="classifier.weight",
    features=features,
    width=768,
    num_frames=16,
    preprocessing=Preprocessing(
        resize=224, crop=224, interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    source=HubRepository(repository="MCG-NJU/videomae-base-finetuned-kinetics"),
    rename=_rename,
    num_keyframes=16,
)


def source(name: str) -> WeightSource:
    """Return the default source of the weights."""
    return NETWORK.source


def build(name: str, options: ExtractorOptions) -> VideoExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    return build_video_extractor(name, NETWORK, options)
