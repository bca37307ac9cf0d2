"""Networks of PyTorchVideo: their preprocessing, and their features before the classifier.

The library is no longer maintained, and only its models are used: its transforms do not import
beside a present torchvision.

Shape legend: B batch, T frames, C channels, H height, W width, D features.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import Preprocessing
from kinestore.extractors.weights.sources import Url

_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/"

KINETICS_PREPROCESSING = Preprocessing(
    resize=256,
    crop=256,
    interpolation="bilinear",
    antialias=False,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
"""Preprocessing of the hub's tutorials, which however resize normalized values and not uint8."""


def zoo_file(file: str) -> Url:
    """Return a file of the library's model zoo; no hashes are published."""
    return Url(_ZOO + file)


def hub_network(name: str, num_classes: int) -> nn.Module:
    """Return a network of `pytorchvideo.models.hub`, with random weights."""
    hub = library("pytorchvideo.models.hub")
    network: nn.Module = getattr(hub, name)(model_num_class=num_classes)
    return network


def pooled_features(network: Any, inputs: Any) -> Tensor:
    """Return the classifier's input, pooled over time and space as the head pools its scores.

    Args:
        network: One of `hub_network`.
        inputs: Input of its first block.

    Returns:
        Shape (B, D).
    """
    *blocks, head = network.blocks
    for block in blocks:
        inputs = block(inputs)
    if head.pool is not None:
        inputs = head.pool(inputs)
    features: Tensor = head.output_pool(inputs).flatten(1)
    return features
