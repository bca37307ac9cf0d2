"""Image networks of torchvision by name, as trunks that give a vector for each frame.

Shape legend: B clips, T frames, D width of a vector, H height, W width.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._frames_validation import check_clips
from kinestore.heads.support.state_dict import COUNTER, find_misfit, without_prefix
from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

PIXELS = ("imagenet", "signed", "raw")

_LAST_MAPS = {
    "resnet": ("layer4", 0.0),
    "resnext": ("layer4", 0.0),
    "wide_resnet": ("layer4", 0.0),
    "regnet": ("trunk_output", 0.0),
    "mobilenet": ("features", 0.0),
    "efficientnet": ("features", 0.0),
    "densenet": ("features", 14.0),
    "vgg": ("features", 15.5),
    "convnext": ("features", 15.5),
}
"""By the start of a name: the layer with the last maps, whose cells are 32 pixels apart, and the
pixel at which the first is centered: each pooling or convolution without padding moves it on."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_EARLY_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
"""Names in torchvision's published files of DenseNet, which were written by an early version."""


class FrameTrunk(nn.Module):
    """An image network without its last layer.

    Source: torchvision, by `get_model`.

    Args:
        name: Such as "densenet201" or "resnet152".
        weights: Its state dict, such as torchvision's for ImageNet, with or without the last
            layer; None for random weights.
        pixels: "imagenet" for colors as torchvision's weights expect them, which is what the job
            provides; "signed" for -1 to 1, "raw" for 0 to 255.

    Attributes:
        network: The network, whose last layer passes its input on.
        width: D, width of that input.
    """

    def __init__(self, name: str, *, weights: Path | None, pixels: str) -> None:
        super().__init__()
        if pixels not in PIXELS:
            raise UsageError(f"pixels={pixels!r}: must be one of {', '.join(PIXELS)}")
        self._name, self._pixels = name, pixels
        self.network = _without_heads(name)
        places = [(n, m) for n, m in self.network.named_modules() if isinstance(m, nn.Linear)]
        top, last = places[-1] if places else ("", None)
        if last is None:
            raise UsageError(f"trunk={name!r}: has no linear layer at its end; take another")
        self.width = last.in_features
        parent, _, attribute = top.rpartition(".")
        setattr(self.network.get_submodule(parent), attribute, nn.Identity())
        if weights is not None:
            _load(self.network, weights, top=top, name=name)

    @property
    def feature_layers(self) -> dict[str, FeatureLayer]:
        """The layer with the last maps, for trunks that are pooled over all places.

        Raises:
            UsageError: If the trunk has no such layer.
        """
        for start, (layer, first) in _LAST_MAPS.items():
            if self._name.startswith(start):
                module = self.network.get_submodule(layer)
                return {layer: FeatureLayer(module=module, stride=32, first=first)}
        raise UsageError(
            f"trunk={self._name!r}: has no maps that can be explained; train a trunk of "
            f"{', '.join(_LAST_MAPS)}"
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return a vector for each frame, shape (B, T, D).

        Args:
            frames: Normalized pixels, floating point, shape (B, T, 3, H, W).

        Raises:
            UsageError: If the shape or the dtype differs.
        """
        check_clips(frames)
        vectors: Tensor = self.network(self._colored(frames.flatten(0, 1)))
        return vectors.view(*frames.shape[:2], self.width)

    def _colored(self, pictures: Tensor) -> Tensor:
        """Return pictures in the range of colors that was chosen."""
        if self._pixels == "imagenet":
            return pictures
        mean, std = (torch.tensor(each).to(pictures)[:, None, None] for each in (_MEAN, _STD))
        from_zero = pictures * std + mean
        return from_zero * 255 if self._pixels == "raw" else from_zero * 2 - 1


def _without_heads(name: str) -> Any:
    """Build a network of torchvision with random weights and without auxiliary classifiers."""
    from torchvision import models  # takes a second to import

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(
            f"trunk={name!r}: torchvision has no such network; take densenet201, resnet152 or "
            f"another of its {len(known)}"
        )
    more = {"aux_logits": False, "init_weights": False}
    choices = more if name in ("googlenet", "inception_v3") else {}
    device = torch.get_default_device()
    with torch.device("cpu"):  # regnets compute their widths by tensors
        network = models.get_model(name, weights=None, **choices)
    return network.to(device)


def _load(network: nn.Module, weights: Path, *, top: str, name: str) -> None:
    """Load all tensors but those of the last layer.

    Raises:
        UsageError: If the file is missing, is no state dict, or does not fit.
    """
    own = network.state_dict()
    state = {_EARLY_DENSENET.sub(r"\1", key): one for key, one in read_tensors(weights).items()}
    state = without_prefix(state, [key for key in own if not key.endswith(COUNTER)])
    found = {
        key: tensor
        for key, tensor in state.items()
        if not key.startswith((f"{top}.", "AuxLogits.", "aux1.", "aux2."))
    }
    if (fault := find_misfit(found, own)) is not None:
        raise UsageError(
            f"weights {weights}: do not fit the trunk {name}: {fault}; give torchvision's of it"
        )
    network.load_state_dict(found, strict=False)
