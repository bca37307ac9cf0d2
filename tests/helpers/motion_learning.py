"""Training of the differential network on clips that only motion tells apart.

The clips are `kinestore.pipeline.synthetic.moving_dots` in four directions, 64 x 64. A network of
four Bottlenecks sees each training clip once and is scored on 400 test clips.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kinestore import heads
from kinestore.pipeline.synthetic.moving_dots import MotionDots, shuffle_frames

SEGMENT_FRAMES = 5

SMALL_NETWORK: Mapping[str, Any] = {
    "num_classes": 4,
    "num_segments": 4,
    "layers": (1, 1, 1, 1),
    "width": 16,
    "dropout": 0.0,
}
FIRST_TEST_CLIP = 1_000_000
NUM_TESTS = 400
BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and its training clips.

    Attributes:
        name: Row of a table.
        num_clips: Training clips, each seen once.
        settings: Settings of the network, over those of SMALL_NETWORK.
        shuffled: Whether the frames of each clip are in random order.
    """

    name: str
    num_clips: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    shuffled: bool = False


WHOLE = Case(name="whole network", num_clips=1024)
SHUFFLED = Case(name="whole network, frames shuffled", num_clips=1024, shuffled=True)
ADJACENT = Case(
    name="`strides=()`, `local_input=adjacent_diff`",
    num_clips=512,
    settings={"strides": (), "local_input": "adjacent_diff"},
)
SMOOTHED = Case(name="`strides=()`", num_clips=512, settings={"strides": ()})
ONE_FRAME = Case(
    name="one frame: `strides=()`, `local_input=none`, `num_segments=1`",
    num_clips=1024,
    settings={"strides": (), "local_input": "none", "num_segments": 1},
)
CASES = (WHOLE, SHUFFLED, ADJACENT, SMOOTHED, ONE_FRAME)


@dataclass(frozen=True, kw_only=True)
class MotionScores:
    """Scores on test clips, as fractions.

    Attributes:
        top1: Accuracy over four directions; 1/4 by guessing.
        sense: Clips whose class has a larger logit than the opposite direction; 1/2 by guessing.
        axis: Clips for which the class or the opposite direction is predicted; 1/2 by guessing.
    """

    top1: float
    sense: float
    axis: float


def learn(case: Case, *, seed: int) -> MotionScores:
    """Train a network on clips from number 0 on, and score it."""
    network = heads.create("differential", seed=seed, **{**SMALL_NETWORK, **case.settings})
    train_once(
        network,
        lambda start: read(case, start, start + BATCH_SIZE, seed=seed),
        num_clips=case.num_clips,
    )
    return _score(network, case, seed=seed)


def train_once(
    network: nn.Module, read_batch: Callable[[int], tuple[Tensor, Tensor]], *, num_clips: int
) -> None:
    """Train a network on each clip once, with Adam on one cycle of the learning rate.

    Args:
        network: Changed in place, and in training mode afterwards.
        read_batch: Returns the frames and labels of BATCH_SIZE clips from a number on.
        num_clips: Clips from number 0 on.
    """
    network.to(memory_format=torch.channels_last)
    starts = range(0, num_clips, BATCH_SIZE)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-3, total_steps=len(starts), cycle_momentum=False
    )
    network.train()
    for start in starts:
        frames, labels = read_batch(start)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(frames), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def read(case: Case, start: int, stop: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return clips by number, float32 (B, N, 5, 3, 64, 64) from -2 to 2, and their labels."""
    num_segments = {**SMALL_NETWORK, **case.settings}["num_segments"]
    dots = MotionDots(seed=seed, num_frames=num_segments * SEGMENT_FRAMES)
    frames, labels = dots.batch(start, stop)
    if case.shuffled:
        numbered = enumerate(frames, start)
        frames = torch.stack([shuffle_frames(clip, seed=seed, index=i) for i, clip in numbered])
    return to_segments(frames), labels


def to_segments(frames_BTHWC: Tensor) -> Tensor:
    """Return segments, float32 (B, N, 5, 3, H, W) from -2 to 2, of uint8 frames."""
    pixels = (frames_BTHWC.movedim(-1, 2).float() / 255 - 0.5) / 0.25
    segments: Tensor = pixels.unflatten(1, (-1, SEGMENT_FRAMES))  # type: ignore[no-untyped-call]
    return segments


def _score(network: nn.Module, case: Case, *, seed: int) -> MotionScores:
    """Score a network on clips far from its training clips."""
    batches = [
        read(case, start, start + 50, seed=seed)
        for start in range(FIRST_TEST_CLIP, FIRST_TEST_CLIP + NUM_TESTS, 50)
    ]
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(frames) for frames, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    opposite = (labels + 2) % 4
    ahead = logits.gather(1, labels[:, None]) > logits.gather(1, opposite[:, None])
    return MotionScores(
        top1=_fraction(logits.argmax(1) == labels),
        sense=_fraction(ahead),
        axis=_fraction(logits.argmax(1) % 2 == labels % 2),
    )


def _fraction(right: Tensor) -> float:
    return float(right.double().mean())
