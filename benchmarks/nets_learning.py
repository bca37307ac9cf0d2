"""What the differential net learns of clips that only motion tells apart, and what blinds it.

    python -m benchmarks.nets_learning [--seeds 3]

The clips are `pipeline.motion_dots` in four directions, 64 x 64. A net of four Bottlenecks sees
each clip once and is scored on 400 others. Top-1 is 1/4 by guessing. Who sees the axis and guesses
the sense has 1/2 of four right, so both are told by themselves: how often the right class has a
larger logit than its opposite, and how often one of the two is named; each is 1/2 by guessing.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kinestore import heads
from kinestore.pipeline.synthetic.moving_dots import MotionDots, shuffle_frames

FRAMES = 5
"""Of a segment."""

SMALL: Mapping[str, Any] = {
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
    """A net and how it gets its clips.

    Attributes:
        name: What a table calls it.
        num_clips: That it is trained on, each seen once.
        settings: Beside those of SMALL.
        shuffled: Whether a clip's frames come in an order of chance.
    """

    name: str
    num_clips: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    shuffled: bool = False


WHOLE = Case(name="the whole net", num_clips=1024)
SHUFFLED = Case(name="the whole net, frames shuffled", num_clips=1024, shuffled=True)
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
class Learnt:
    """Scores on clips that the net has not seen, as fractions.

    Attributes:
        top1: Of four directions.
        sense: A class before its opposite.
        axis: A class or its opposite named.
    """

    top1: float
    sense: float
    axis: float


def learn(case: Case, *, seed: int) -> Learnt:
    """Train a net on clips from number 0 on, and score it."""
    net = heads.create("differential", seed=seed, **{**SMALL, **case.settings})
    net = net.to(memory_format=torch.channels_last)
    starts = range(0, case.num_clips, BATCH_SIZE)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-3, total_steps=len(starts), cycle_momentum=False
    )
    net.train()
    for start in starts:
        frames, labels = read(case, start, start + BATCH_SIZE, seed=seed)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(frames), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return score(net, case, seed=seed)


def score(net: nn.Module, case: Case, *, seed: int) -> Learnt:
    """On clips far from those that it was trained on."""
    logits, labels = [], []
    for start in range(FIRST_TEST_CLIP, FIRST_TEST_CLIP + NUM_TESTS, 50):
        frames, wanted = read(case, start, start + 50, seed=seed)
        logits.append(heads.predict(net, frames))
        labels.append(wanted)
    told, truth = torch.cat(logits), torch.cat(labels)
    opposite = (truth + 2) % 4
    ahead = told.gather(1, truth[:, None]) > told.gather(1, opposite[:, None])
    return Learnt(
        top1=_share(told.argmax(1) == truth),
        sense=_share(ahead),
        axis=_share(told.argmax(1) % 2 == truth % 2),
    )


def read(case: Case, start: int, stop: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Clips by number: float32 (B, N, 5, 3, 64, 64) from -2 to 2, and their labels."""
    num_segments = {**SMALL, **case.settings}["num_segments"]
    frames, labels = MotionDots(seed=seed, num_frames=num_segments * FRAMES).batch(start, stop)
    if case.shuffled:
        numbered = enumerate(frames, start)
        frames = torch.stack([shuffle_frames(clip, seed=seed, index=i) for i, clip in numbered])
    pixels = (frames.movedim(-1, 2).float() / 255 - 0.5) / 0.25
    return pixels.unflatten(1, (num_segments, FRAMES)), labels  # type: ignore[no-untyped-call]


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| net | clips | top-1 | sense | axis | s |", "|---|---|---|---|---|---|", sep="\n")
    for case in CASES:
        start = time.process_time()
        rows = [learn(case, seed=seed) for seed in range(options.seeds)]
        seconds = (time.process_time() - start) / options.seeds
        told = [", ".join(f"{getattr(row, name):.3f}" for row in rows) for name in _COLUMNS]
        print(
            f"| {' | '.join([case.name, str(case.num_clips), *told, f'{seconds:.0f}'])} |",
            flush=True,
        )


_COLUMNS = ("top1", "sense", "axis")

if __name__ == "__main__":
    main()
