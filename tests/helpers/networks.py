"""Networks with random weights, saved as their publishers save them, and clips in memory."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kinestore import extractors
from kinestore.extractors import Extractor
from kinestore.extractors._runner import Runner
from kinestore.samplers import evenly_spaced


class Clip:
    """Pictures in memory in the place of a decoded video."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._pictures = pictures
        self.num_frames = len(pictures)
        self.pts_s = np.arange(len(pictures)) / 25
        self.clip_id = hashlib.sha256(pictures.tobytes()).hexdigest()[:32]

    def rgb(self, indices: Any) -> NDArray[np.uint8]:
        chosen: NDArray[np.uint8] = self._pictures[indices]
        return chosen

    def luma(self, indices: Any, *, size: tuple[int, int]) -> NDArray[np.uint8]:
        grey = self._pictures[indices][..., 1]
        return np.stack([cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in grey])

    def keyframes(self, *, num_keyframes: int, space: str, seed: int) -> NDArray[np.int64]:
        return evenly_spaced(self.num_frames, num_keyframes)


def noise_clip(seed: int, *, num_frames: int = 8, size: tuple[int, int] = (120, 160)) -> Clip:
    """A clip of blurred noise, each frame of its own: (height, width)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (num_frames, size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    return Clip(np.stack([cv2.resize(frame, size[::-1]) for frame in coarse]))


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw weights that keep signals at their size, on the CPU, in inference mode.

    Biases are not zero, so that one that gets lost on the way shows.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 100
            parameter.normal_(0, fan_in**-0.5, generator=generator)
        for module in network.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.BatchNorm3d):
                module.weight.add_(1)
    for name, buffer in network.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]))
    return network.eval()


def half_precision() -> Runner:
    """A runner of the CPU that computes as one of a GPU does."""
    runner = Runner("cpu")
    runner.dtype = torch.bfloat16
    return runner


def in_bfloat16(name: str, **options: Any) -> Extractor:
    """An extractor that computes on the CPU as it would on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "of", lambda options, **batch: half_precision())
        return extractors.create(name, device="cpu", **options)


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def relative_error(ours: Any, theirs: Any) -> float:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def cosine(a: Any, b: Any) -> float:
    a, b = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def write_bert_vocabulary(folder: Path) -> Path:
    """As many word pieces as BERT has, the special ones in BERT's places."""
    words = [f"w{number}" for number in range(30522)]
    words[0], words[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = folder / "vocab.txt"
    path.write_text("\n".join(words) + "\n")
    return path


def write_clip_vocabulary(folder: Path) -> None:
    """As many tokens as CLIP has: letters, their word ends, one merge, fillers, the special two."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "ru"]
    tokens += [f"filler{number}" for number in range(49406 - len(tokens))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: at for at, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr u\n")
