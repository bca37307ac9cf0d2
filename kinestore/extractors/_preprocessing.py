"""Shrinking pictures as a network's publisher does, and scaling their values.

Shape legend: B batch, T frames, H height, W width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What becomes of a picture before a network sees it.

    Pixels stay uint8 until they are on the device: a quarter of the bytes. So they are rounded
    once after the resize, which moves a value by no more than half a level of 255.

    Attributes:
        resize: (height, width), or the shorter side alone, which keeps the shape.
        crop: Side of the square cut from the middle afterwards, or None for no cut.
        interpolation: "bilinear" or "bicubic".
        antialias: Whether shrinking averages over all pixels that it drops.
        mean: Of each channel, of values in [0, 1].
        std: Likewise.
    """

    resize: tuple[int, int] | int
    crop: int | None = None
    interpolation: str
    antialias: bool = True
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def settings(self) -> dict[str, Any]:
        """What a view's specification says of them."""
        suffix = "-antialiased" if self.antialias else ""
        side = self.resize
        return {
            "resize": side if isinstance(side, int) else list(side),
            **({} if self.crop is None else {"crop": self.crop}),
            "interpolation": self.interpolation + suffix,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def shrink(self, rgb_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and crop: uint8, shape (T, 3, height, width)."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        pictures_TCHW = torch.from_numpy(rgb_THWC).permute(0, 3, 1, 2)
        small_TCHW: Tensor = functional.resize(
            pictures_TCHW,
            [self.resize] if isinstance(self.resize, int) else list(self.resize),
            InterpolationMode(self.interpolation),
            antialias=self.antialias,
        )
        if self.crop is not None:
            small_TCHW = functional.center_crop(small_TCHW, [self.crop, self.crop])
        return np.ascontiguousarray(small_TCHW.numpy())

    def normalise(self, pixels: Tensor) -> Tensor:
        """Uint8 of shape (..., 3, H, W) as a network takes it, float32."""
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1) * 255
        return (pixels.float() - mean) / std
