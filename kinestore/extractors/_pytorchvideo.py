"""Networks of PyTorchVideo: their feeding, and their features before the classifier.

The library is no longer maintained, and only its models are used: its transforms do not import
beside a present torchvision.

Shape legend: B batch, T frames, C channels, H height, W width, D features.
"""

from typing import Any

from torch import Tensor, nn

from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import Pictures
from kinestore.extractors.weights.sources import Url

ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/"

PICTURES = Pictures(
    resize=256,
    crop=256,
    interpolation="bilinear",
    antialias=False,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
"""Of the hub's tutorials. The publisher resizes values that are scaled already; here uint8 is."""


def zoo(file: str) -> Url:
    """A file of the library's model zoo; it publishes no hashes."""
    return Url(ZOO + file)


def build(name: str, num_classes: int) -> nn.Module:
    """A network of `pytorchvideo.models.hub`, with random weights."""
    hub = library("pytorchvideo.models.hub")
    network: nn.Module = getattr(hub, name)(model_num_class=num_classes)
    return network


def pooled(network: Any, inputs: Any) -> Tensor:
    """What the head hands to its classifier, averaged as it averages the classes' scores.

    Args:
        network: One of `build`.
        inputs: What its first block takes.

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
