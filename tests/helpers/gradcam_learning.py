"""Training of a small differential network, and a check of where its Grad-CAM peaks lie.

The clips are `kinestore.pipeline.synthetic.moving_dots` in four directions with two dots. Grad-CAM
explains the predicted class of test clips. Its peak is a segment and a place; it is inside if a dot
covers that place in one of the segment's five frames.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinestore import heads
from kinestore.heads.differential import DifferentialNet
from kinestore.pipeline.explain.grad_cam import grad_cam
from kinestore.pipeline.explain.upsample import find_peak
from kinestore.pipeline.synthetic.moving_dots import MotionDots
from tests.helpers.motion_learning import (
    BATCH_SIZE,
    FIRST_TEST_CLIP,
    SEGMENT_FRAMES,
    SMALL_NETWORK,
    to_segments,
    train_once,
)

NUM_SEGMENTS = int(SMALL_NETWORK["num_segments"])
NUM_TESTS = 100
NUM_CLIPS = {64: 1024, 128: 768, 224: 512}
"""Training clips by frame size: larger frames need fewer."""


@dataclass(frozen=True, kw_only=True)
class PeakScores:
    """Fractions of the test clips, by layer.

    Attributes:
        inside: Clips whose peak lies where a dot moves.
        resized: The same, with cells in the middles of equal shares of the frame, as resizing a map
            places them, in the place of `FeatureLayer`'s coordinates.
        by_chance: Fraction of the pixels that dots cover in a segment.
        top1: Accuracy.
    """

    inside: dict[str, float]
    resized: dict[str, float]
    by_chance: float
    top1: float


def train(size: int, *, seed: int, num_clips: int | None = None) -> DifferentialNet:
    """Train a network on clips from number 0 on, each seen once; it is in evaluation mode."""
    network = heads.create("differential", seed=seed, **SMALL_NETWORK)
    assert isinstance(network, DifferentialNet)
    train_once(
        network,
        lambda start: _read(size, start, start + BATCH_SIZE, seed=seed),
        num_clips=num_clips or NUM_CLIPS[size],
    )
    return network.eval()


def locate(
    network: DifferentialNet, size: int, *, seed: int, num_tests: int = NUM_TESTS
) -> PeakScores:
    """Find the peaks of all layers on clips far from the training clips."""
    layers = network.feature_layers
    inside, resized = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
    covered, right = 0.0, 0
    for number in range(FIRST_TEST_CLIP, FIRST_TEST_CLIP + num_tests):
        frames, label = _read(size, number, number + 1, seed=seed)
        with torch.inference_mode():
            predicted = int(network(frames).argmax())
        right += predicted == int(label)
        by_frame = _dots(size, seed=seed).dot_mask(number)
        swept = by_frame.reshape(NUM_SEGMENTS, SEGMENT_FRAMES, size, size).max(1)
        covered += float(swept.mean())
        for name, layer in layers.items():
            maps = grad_cam(network, frames, layer.module, predicted)
            middles = replace(layer, first=(size / maps.shape[-1] - 1) / 2)
            for count, where in ((inside, layer), (resized, middles)):
                peak = find_peak(maps, where, num_frames=NUM_SEGMENTS, size=size)
                count[name] += peak is not None and bool(swept[peak.frame, peak.y, peak.x])
    return PeakScores(
        inside={name: count / num_tests for name, count in inside.items()},
        resized={name: count / num_tests for name, count in resized.items()},
        by_chance=covered / num_tests,
        top1=right / num_tests,
    )


def _dots(size: int, *, seed: int) -> MotionDots:
    num_frames = NUM_SEGMENTS * SEGMENT_FRAMES
    return MotionDots(seed=seed, num_frames=num_frames, size=size, num_dots=2)


def _read(size: int, start: int, stop: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return clips by number, float32 (B, N, 5, 3, size, size) from -2 to 2, and their labels."""
    frames, labels = _dots(size, seed=seed).batch(start, stop)
    return to_segments(frames), labels
