"""Preprocessing of pictures as the publisher of a network does it.

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
class Preprocessing:
    """Resizing, cropping and normalization of pictures.

    Pixels stay uint8 until they are on the device: a quarter of the bytes. So they are rounded
    once after the resize, which changes a value by at most half a level of 255.

    Attributes:
        resize: (height, width), or the shorter side alone, which keeps the aspect ratio.
        crop: Side of the square center crop afterwards, or None for no crop.
        interpolation: "bilinear" or "bicubic".
        antialias: Whether resizing to a smaller size averages over all pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        square: Whether the largest square at the center is cropped first, so that nothing is
            squeezed: its offset is (side of the picture) // 2 - (side of the square) // 2.
    """

    resize: tuple[int, int] | int
    crop: int | None = None
    interpolation: str
    antialias: bool = True
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    square: bool = False

    def settings(self) -> dict[str, Any]:
        """Return the settings that a view's specification records."""
        suffix = "-antialiased" if self.antialias else ""
        side = self.resize
        return {
            "resize": side if isinstance(side, int) else list(side),
            **({} if self.crop is None else {"crop": self.crop}),
            "interpolation": self.interpolation + suffix,
            "mean": list(self.mean),
            "std": list(self.std),
            **({"first": "center square"} if self.square else {}),
        }

    def resize_and_crop(self, rgb_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and crop: uint8, shape (T, 3, height, width)."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        if self.square:
            height, width = rgb_THWC.shape[1:3]
            side = min(height, width)
            top, left = height // 2 - side // 2, width // 2 - side // 2
            rgb_THWC = rgb_THWC[:, top : top + side, left : left + side]
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

    def normalize(self, pixels: Tensor) -> Tensor:
        """Normalize uint8 of shape (..., 3, H, W) to float32."""
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1) * 255
        return (pixels.float() - mean) / std
