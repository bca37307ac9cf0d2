"""Speed and memory of the networks on frames, and of torchvision's ResNet-50 on the same frames.

    python -m benchmarks.networks [--clips 2] [--repeats 7] [--json FILE]
    python -m benchmarks.networks --learn [--seeds 0 1 2]

A repetition runs each contender in turn, once in inference and once in training: forward, cross
entropy, backward and a step of SGD. Seconds are medians; a ratio is the median of the repetitions'
ratios, so that a machine that slows down slows both. Memory is the peak of a separate
process, without the memory of the network and the clips alone.

- `ResNet-50`: torchvision's, in the layout that suits it best (channels last), its logits averaged
  over frames: the trunk of all but C3D.
- `GSF`, `GSF + STC`: the correlation network without and with its module behind res3.
- `differential`, `local alone`: with and without its time modules; it reads five frames a segment,
  ResNet-50 the middle one.
- `C3D`: 16 frames of 112 pixels, and ResNet-50 over those.

The share of the peak is of what products reach here, measured in each repetition: `torch.mm` on
squares of 2048, or a 3 x 3 convolution of 512 channels, whichever is faster (their libraries
differ). Operations are those that torch counts, in products and convolutions. The process keeps the
memory that it frees, as one that trains does.

With --learn the networks are trained from scratch on four directions of dots; small ones, since
this is for a CPU. Top-1 of 400 new clips, with a chance level of 0.25; where the first frame is
repeated, nothing moves.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.flops import flops_of, peak_flops
from benchmarks.isolated_process import Isolated
from benchmarks.memory import peak_mib
from kinestore.heads import create
from kinestore.pipeline.synthetic.moving_dots import MotionDots, hold_frame
from kinestore.pipeline.training.networks.malloc import keep_freed_memory

CLASSES = 174
MODES = ("inference", "training")
BARS = {
    ("GSF + STC", "GSF"): 1.2,
    ("differential", "ResNet-50, 8 x 224"): 1.25,
}
"""Times as slow in inference at most."""


class FrameByFrame(nn.Module):
    """ResNet-50 of torchvision on each frame."""

    def __init__(self) -> None:
        from torchvision.models import resnet50

        super().__init__()
        self.trunk = resnet50(num_classes=CLASSES).to(memory_format=torch.channels_last)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (B, K) of frames (B, ..., 3, H, W)."""
        pixels = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.trunk(pixels)
        return logits.view(len(frames), -1, CLASSES).mean(1)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A network and the clips that it reads.

    Attributes:
        build: Builds the network.
        shape: Of a clip.
        beside: The contender that it is compared with.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    beside: str | None = None


def head(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: create(name, num_classes=CLASSES, **settings)


FRAMES, SEGMENTS, SMALL = (8, 3, 224, 224), (8, 5, 3, 224, 224), (16, 3, 112, 112)

CONTENDERS = {
    "ResNet-50, 8 x 224": Contender(build=FrameByFrame, shape=FRAMES),
    "GSF": Contender(
        build=head("correlation", stc_at=None), shape=FRAMES, beside="ResNet-50, 8 x 224"
    ),
    "GSF + STC": Contender(build=head("correlation"), shape=FRAMES, beside="GSF"),
    "local alone": Contender(
        build=head("differential", strides=()), shape=SEGMENTS, beside="ResNet-50, 8 x 224"
    ),
    "differential": Contender(
        build=head("differential"), shape=SEGMENTS, beside="ResNet-50, 8 x 224"
    ),
    "ResNet-50, 16 x 112": Contender(build=FrameByFrame, shape=SMALL),
    "C3D": Contender(build=head("c3d"), shape=SMALL, beside="ResNet-50, 16 x 112"),
}


class Runner:
    """One contender with its clips, ready to run."""

    def __init__(self, name: str, num_clips: int) -> None:
        contender = CONTENDERS[name]
        generator = torch.Generator().manual_seed(0)
        self._network = contender.build()
        self._clips = torch.randn(num_clips, *contender.shape, generator=generator)
        self._labels = torch.arange(num_clips) % CLASSES
        self._optimizer = torch.optim.SGD(self._network.parameters(), 1e-3, momentum=0.9)

    def run(self, mode: str) -> None:
        """Once."""
        self._network.train(mode == "training")
        if mode == "inference":
            with torch.inference_mode():
                self._network(self._clips)
            return
        self._optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self._network(self._clips), self._labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def flops(self, mode: str) -> int:
        """Of one run."""
        return flops_of(lambda: self.run(mode))


def memory(name: str, num_clips: int, mode: str, threads: int) -> int:
    """MiB of the peak of one run, beyond the network and the clips; in a separate process."""
    torch.set_num_threads(threads)
    runner = Runner(name, num_clips)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = peak_mib()
    runner.run(mode)
    return peak_mib() - before


Seconds = dict[tuple[str, str], list[float]]


def measure(names: Sequence[str], *, num_clips: int, repeats: int) -> tuple[Seconds, list[float]]:
    """Seconds a clip of each contender and mode, and the peak, by repetition."""
    keep_freed_memory()
    runners = {name: Runner(name, num_clips) for name in names}
    seen: Seconds = {(name, mode): [] for name in names for mode in MODES}
    peaks = []
    for _ in range(repeats + 1):
        peaks.append(peak_flops())
        for (name, mode), times in seen.items():
            began = time.perf_counter()
            runners[name].run(mode)
            times.append((time.perf_counter() - began) / num_clips)
    return {key: times[1:] for key, times in seen.items()}, peaks[1:]  # the first warms up


def ratio(seen: Seconds, name: str, other: str, mode: str) -> float:
    pairs = zip(seen[name, mode], seen[other, mode], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def figures(
    names: Sequence[str], *, num_clips: int, repeats: int
) -> dict[str, dict[str, float | str]]:
    """Return all figures of each contender."""
    seen, peaks = measure(names, num_clips=num_clips, repeats=repeats)
    found: dict[str, dict[str, float | str]] = {}
    for name in names:
        row: dict[str, float | str] = {}
        for mode in MODES:
            seconds = statistics.median(seen[name, mode])
            flops = Runner(name, 1).flops(mode)
            child = Isolated(memory, timeout_s=600)
            row[f"{mode}, clips/s"] = 1 / seconds
            row[f"{mode}, GFLOP a clip"] = flops / 1e9
            row[f"{mode}, of peak"] = flops / seconds / statistics.median(peaks)
            row[f"{mode}, MiB"] = child.call(name, num_clips, mode, torch.get_num_threads())
            child.close()
            beside = CONTENDERS[name].beside
            if beside is not None and beside in names:
                row["beside"] = beside
                row[f"{mode}, times as slow"] = ratio(seen, name, beside, mode)
        found[name] = row
    found["peak"] = {"GFLOP/s": statistics.median(peaks) / 1e9}
    return found


def show(console: Console, found: Mapping[str, Mapping[str, Any]], num_clips: int) -> None:
    columns = ("clips/s", "GFLOP a clip", "of peak", "times as slow", "MiB")
    for mode in MODES:
        table = Table("network", *columns, "as", title=f"{mode}, {num_clips} clips at a time")
        for name, row in found.items():
            if name != "peak":
                cells = [row.get(f"{mode}, {column}") for column in columns]
                texts = ["-" if cell is None else f"{cell:.4g}" for cell in cells]
                table.add_row(name, *texts, row.get("beside", "-"))
        console.print(table)
    peak = found["peak"]["GFLOP/s"]
    console.print(f"peak of products: {peak:.0f} GFLOP/s with {torch.get_num_threads()} threads")
    for (name, other), bar in BARS.items():
        if found.get(name, {}).get("beside") == other:
            slower = found[name]["inference, times as slow"]
            verdict = "met" if slower <= bar else "MISSED"
            console.print(f"{name} / {other}: {slower:.3f}, at most {bar}: {verdict}")


TRUNK: dict[str, Any] = {"layers": (1, 1, 1, 1), "width": 16, "dropout": 0.0}
LEARNERS: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "GSF": ("correlation", {**TRUNK, "stc_at": None}, 64, 5e-3),
    "GSF + STC": ("correlation", TRUNK, 64, 5e-3),
    "GSF + STC, opposite offsets averaged": ("correlation", {**TRUNK, "signed": False}, 64, 5e-3),
    "C3D": ("c3d", {"num_frames": 4, "size": 32, "dropout": 0.0}, 32, 5e-4),
}
"""A head, its settings, pixels of a side, and the highest learning rate."""


def dots(start: int, stop: int, *, size: int, repeated: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Every third of ten frames."""
    made = MotionDots(num_frames=10, size=size, seed=seed)
    pixels, labels = made.batch(start, stop)
    if repeated:
        pixels = torch.stack([hold_frame(frames, at=0) for frames in pixels])
    return (pixels[:, ::3].permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.2, labels


def learn(name: str, *, repeated: bool, seed: int, epochs: int = 10, num_clips: int = 512) -> float:
    """Top-1 after AdamW in batches of 16, with a rate that rises and falls."""
    kind, settings, size, rate = LEARNERS[name]
    network = create(kind, seed=seed, num_classes=4, **settings)
    frames, labels = dots(0, num_clips, size=size, repeated=repeated, seed=seed)
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    steps = epochs * (num_clips // 16)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(num_clips, generator=generator).view(-1, 16):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(frames[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    frames, labels = dots(num_clips, num_clips + 400, size=size, repeated=repeated, seed=seed)
    with torch.inference_mode():
        right = network.eval()(frames).argmax(1) == labels
    return float(right.float().mean())


def show_learning(console: Console, seeds: Sequence[int]) -> None:
    table = Table(
        "network", "moving", "first frame repeated", title="top-1 of four directions, by seed"
    )
    for name in LEARNERS:
        cells = []
        for repeated in (False, True):
            scores = [learn(name, repeated=repeated, seed=seed) for seed in seeds]
            cells.append(", ".join(f"{score:.3f}" for score in scores))
        table.add_row(name, *cells)
        console.print(f"{name}: {cells[0]}; repeated: {cells[1]}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--clips", type=int, default=2, help="at a time")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--learn", action="store_true", help="what they learn, in their place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    console = Console(width=120, highlight=False)
    if args.learn:
        show_learning(console, args.seeds)
        return
    found = figures(args.networks, num_clips=args.clips, repeats=args.repeats)
    show(console, found, args.clips)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
