"""The networks behind extractors without weights, and one clip's input, to count what they cost.

Everything is on the meta device: shapes without numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinestore.extractors import blip, clip, cnn
from kinestore.extractors._preprocessing import Preprocessing
from kinestore.extractors._registry import module_of

KINETICS_CLASSES = 400
"""Classes of the published video networks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Architecture:
    """A network without weights.

    Attributes:
        network: The whole network as it is published, its classifier included.
        run: Embeds one clip with a network of this kind, on the device of the pixels.
        pixels: Normalized input of one clip, on the meta device.
        embedding: Shape that is stored for a clip.
        note: What is not counted; "" where all is.
    """

    network: nn.Module
    run: Callable[[Any, Tensor], object]
    pixels: Tensor
    embedding: tuple[int, ...]
    note: str = ""


def architecture_of(name: str) -> Architecture | None:
    """Return the network of an extractor; None where it has none, as `motion`.

    Raises:
        UsageError: If there is no such extractor.
    """
    module = module_of(name)
    with torch.device("meta"):
        if module is cnn:
            return _frame_network(name)
        if module is blip:
            return _blip(name)
        if module is clip:
            return Architecture(
                network=clip.architecture(),
                run=lambda network, pixels: network.get_image_features(pixel_values=pixels),
                pixels=_pixels(1, clip.CLIP_PREPROCESSING),
                embedding=(clip._WIDTH,),
                note="" if name == "clip" else "the prompts, which are encoded once, not counted",
            )
        if (video := getattr(module, "NETWORK", None)) is None:
            return None
        return Architecture(
            network=video.build(KINETICS_CLASSES),
            run=video.features,
            pixels=_pixels(video.num_frames, video.preprocessing).transpose(0, 1)[None],
            embedding=(video.width,),
        )


def _pixels(num_frames: int, preprocessing: Preprocessing) -> Tensor:
    """Return frames of the network's size: shape (T, 3, H, W)."""
    size = preprocessing.crop or preprocessing.resize
    height, width = (size, size) if isinstance(size, int) else size
    return torch.empty(num_frames, 3, height, width, device="meta")


def _frame_network(name: str) -> Architecture:
    network = cnn._timm_network(name)
    preprocessing = cnn.preprocessing_of(name, network)
    published = sum(parameter.numel() for parameter in network.parameters())
    network.reset_classifier(0)
    return Architecture(
        network=network,
        run=lambda model, pixels: model(pixels),
        pixels=_pixels(cnn.DEFAULT_NUM_FRAMES, preprocessing),
        embedding=(cnn.DEFAULT_NUM_FRAMES, network.head_hidden_size),
        note=f"with the classifier that the publisher has, {published:,} parameters",
    )


def _blip(name: str) -> Architecture:
    def run(network: Any, pixels: Tensor) -> object:
        patches = network.vision_model(pixels).last_hidden_state
        if name == "blip-image":
            return patches
        words = torch.zeros(1, blip._MAX_WORD_PIECES, dtype=torch.int64, device=pixels.device)
        return network.text_decoder.bert(
            input_ids=words,
            encoder_hidden_states=patches if name == "blip" else None,
            is_decoder=False,
        )

    written = f"writing the caption, up to {blip.MAX_CAPTION_TOKENS} words, not counted"
    return Architecture(
        network=blip.architecture(),
        run=run,
        pixels=_pixels(1, blip.BLIP_PREPROCESSING),
        embedding=(blip._WIDTH,),
        note="" if name == "blip-image" else written,
    )
