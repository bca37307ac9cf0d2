"""How often Grad-CAM's peak lies where a dot moves, by layer and by size of the picture.

    python -m benchmarks.explain [--seeds 0 1 2] [--sizes 64 128 224]

The clips are `pipeline.motion_dots` in four directions with two dots, and the net is that of
`benchmarks.nets_learning`, trained on clips that it sees once. Of 100 others, Grad-CAM is asked for
the class that the net names. Its peak is a segment and a place: it is inside if a dot covers that
place in one of the segment's five frames. By chance a place is so as often as dots cover pixels.

"resized" puts cells into the middles of equal shares of the picture, as resizing a map does, and
not where `FeatureLayer` has them.
"""

import argparse
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.nets_learning import BATCH_SIZE, FIRST_TEST_CLIP, FRAMES, SMALL
from kinestore import heads
from kinestore.pipeline.explain.grad_cam import grad_cam
from kinestore.pipeline.explain.upsample import find_peak
from kinestore.pipeline.synthetic.moving_dots import MotionDots

NUM_SEGMENTS = int(SMALL["num_segments"])
NUM_TESTS = 100
NUM_CLIPS = {64: 1024, 128: 768, 224: 512}
"""What it is trained on, by size: with larger pictures fewer are enough."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Shares of clips, by layer.

    Attributes:
        inside: Whose peak lies where a dot moves.
        resized: The same, with cells in the middles of equal shares of the picture.
        by_chance: The share of pixels that dots cover in a segment.
        top1: Named rightly.
    """

    inside: dict[str, float]
    resized: dict[str, float]
    by_chance: float
    top1: float


def dots(size: int, *, seed: int) -> MotionDots:
    """The clips."""
    return MotionDots(seed=seed, num_frames=NUM_SEGMENTS * FRAMES, size=size, num_dots=2)


def train(size: int, *, seed: int, num_clips: int | None = None) -> Any:
    """A `DifferentialNet` that has seen clips from number 0 on, in eval mode."""
    net = heads.create("differential", seed=seed, **SMALL).to(memory_format=torch.channels_last)
    starts = range(0, num_clips or NUM_CLIPS[size], BATCH_SIZE)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-3, total_steps=len(starts), cycle_momentum=False
    )
    net.train()
    for start in starts:
        frames, labels = read(size, start, start + BATCH_SIZE, seed=seed)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(frames), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net.eval()


def read(size: int, start: int, stop: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Clips by number: float32 (B, N, 5, 3, size, size) from -2 to 2, and their labels."""
    frames, labels = dots(size, seed=seed).batch(start, stop)
    pixels = (frames.movedim(-1, 2).float() / 255 - 0.5) / 0.25
    return pixels.unflatten(1, (NUM_SEGMENTS, FRAMES)), labels  # type: ignore[no-untyped-call]


def locate(net: Any, size: int, *, seed: int, num_tests: int = NUM_TESTS) -> Found:
    """Look where the peaks of all layers are, on clips far from those of the training."""
    layers = net.feature_layers
    inside, resized = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
    covered, right = 0.0, 0
    for number in range(FIRST_TEST_CLIP, FIRST_TEST_CLIP + num_tests):
        frames, label = read(size, number, number + 1, seed=seed)
        with torch.inference_mode():
            named = int(net(frames).argmax())
        right += named == int(label)
        by_frame = dots(size, seed=seed).covered(number)
        swept = by_frame.reshape(NUM_SEGMENTS, FRAMES, size, size).max(1)
        covered += float(swept.mean())
        for name, layer in layers.items():
            maps = grad_cam(net, frames, layer.module, named)
            middles = replace(layer, first=(size / maps.shape[-1] - 1) / 2)
            for count, where in ((inside, layer), (resized, middles)):
                peak = find_peak(maps, where, num_frames=NUM_SEGMENTS, size=size)
                count[name] += peak is not None and bool(swept[peak.frame, peak.y, peak.x])
    return Found(
        inside={name: count / num_tests for name, count in inside.items()},
        resized={name: count / num_tests for name, count in resized.items()},
        by_chance=covered / num_tests,
        top1=right / num_tests,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="*", default=list(NUM_CLIPS))
    options = parser.parse_args()
    print("| size | seed | top-1 | chance | layer | inside | resized | s |")
    print("|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        for seed in options.seeds:
            start = time.process_time()
            found = locate(train(size, seed=seed), size, seed=seed)
            seconds = f"{time.process_time() - start:.0f}"
            for name, share in found.inside.items():
                row = [size, seed, found.top1, f"{found.by_chance:.2f}", name, share]
                print(f"| {' | '.join(map(str, [*row, found.resized[name], seconds]))} |")
            print(end="", flush=True)


if __name__ == "__main__":
    main()
