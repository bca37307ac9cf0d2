"""Clips in memory whose classes differ by motion alone, to test what a network on frames learns.

Textured dots move over a still background. Canvas and dots wrap around. Why a single frame is
independent of the class: every dot starts uniformly on the torus, independently of appearance and
class, and a class only adds a displacement that depends on the time, not on the start; so at every
frame the positions have the same distribution in every class (the full argument is in
`motion_videos`). In "product" half of the label is the dots' appearance, on purpose; a single frame
shows only that half.

Why shuffled frames do not show a direction's sign: a clip to the right read backwards is one to the
left, from another uniform start; without the order the two have the same distribution. They do show
the axis, as dots stay in their rows or columns, so of four directions two remain.

Shape legend: T frames, H height, W width, D dots.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.heads.support.seeds import derive_seed
from kinestore.store import UsageError

TASKS: dict[str, tuple[str, ...]] = {
    "direction4": ("right", "down", "left", "up"),
    "direction8": ("right", "right-down", "down", "left-down", "left", "left-up", "up", "right-up"),
    "axis": ("horizontal", "vertical"),
    "speed": ("slow", "fast"),
    "order": ("upright-first", "level-first"),
    "product": ("upright-right", "upright-left", "level-right", "level-left"),
}
"""Classes of each task. In "order" half of the dots have upright stripes and half level ones; one
half stands still while the other moves. In "product" all stripes are upright or all are level. In
"speed" and "order" dots move in any direction."""

NUM_DOTS = 6

_DEVIATION = 0.05
"""Standard deviation of a dot's Gaussian, in canvas sides."""

_FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MotionDots:
    """An endless set of clips; clip `index` depends on the index, the seed and the settings.

    Attributes:
        task: One of TASKS.
        num_frames: T, 2 or more.
        size: H and W in pixels, 16 or more; dots and speeds grow with it.
        seed: 0 or more.
        client: Number of a client, 0 or more, which sets only the background's color and waves;
            with None each clip has its own. Two clients see the same dots at the same index.
        num_dots: D, 1 or more; "order" needs 2 or more.
    """

    task: str = "direction4"
    num_frames: int = 20
    size: int = 64
    seed: int = 0
    client: int | None = None
    num_dots: int = NUM_DOTS

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"task={self.task!r}: must be one of {', '.join(TASKS)}")
        fewest = 2 if self.task == "order" else 1
        lowest = {"num_frames": 2, "size": 16, "seed": 0, "num_dots": fewest}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: must be {least} or more")
        if self.client is not None and self.client < 0:
            raise UsageError(f"client={self.client}: must be 0 or more")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return TASKS[self.task]

    def clip(self, index: int, *, label: int | None = None) -> tuple[Tensor, int]:
        """Return one clip and its label; classes alternate, so that they are balanced.

        Args:
            index: 0 or more.
            label: The class; None takes the index modulo the number of classes. The clip's other
                random choices do not depend on it.

        Returns:
            RGB, uint8, shape (T, H, W, 3), and the label.
        """
        label = self._label(index, label)
        rng, dots, places_TD2 = self._draw(index, label)
        frames = self._background(rng) + _render(places_TD2, dots, size=self.size)
        return torch.from_numpy(np.rint(frames.clip(0, 255)).astype(np.uint8)), label

    def dot_mask(self, index: int, *, label: int | None = None) -> NDArray[np.bool_]:
        """Return the pixels within two standard deviations of a dot's center.

        A dot has at least 0.14 of its peak intensity there. Arguments as for `clip`.

        Returns:
            bool, shape (T, H, W).
        """
        _, _, places_TD2 = self._draw(index, self._label(index, label))
        across, down = np.moveaxis(_offsets(places_TD2, size=self.size), 2, 0)  # (T, D, W) each
        squares_TDHW = across[:, :, None, :] ** 2 + down[..., None] ** 2
        return np.asarray((squares_TDHW <= (2 * _DEVIATION) ** 2).any(1))

    def _label(self, index: int, label: int | None) -> int:
        """Return the class of a clip, with index and label checked."""
        if index < 0:
            raise UsageError(f"index={index}: must be 0 or more")
        if label is None:
            label = index % len(self.classes)
        if not 0 <= label < len(self.classes):
            raise UsageError(f"label={label}: must be from 0 to {len(self.classes) - 1}")
        return label

    def _draw(self, index: int, label: int) -> tuple[np.random.Generator, "_Dots", _FloatArray]:
        """Return the generator, which draws the background next, and the dots and positions."""
        rng = np.random.default_rng(derive_seed("motion dots", self.seed, index))
        how = {"task": self.task, "name": self.classes[label]}
        dots = _draw_dots(rng, **how, num_dots=self.num_dots)
        places = _draw_places(rng, **how, num_frames=self.num_frames, num_dots=self.num_dots)
        return rng, dots, places

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the clips from `start` to before `stop`: uint8 (B, T, H, W, 3), int64 (B,)."""
        clips = [self.clip(index) for index in range(start, stop)]
        frames, labels = [frames for frames, _ in clips], [label for _, label in clips]
        return torch.stack(frames), torch.tensor(labels)

    def _background(self, rng: np.random.Generator) -> _FloatArray:
        """Draw a color and two waves that are periodic on the torus: shape (H, W, 3)."""
        phases = rng.uniform(0, 2 * np.pi, 2)
        if self.client is not None:
            rng = np.random.default_rng(derive_seed("motion dots client", self.seed, self.client))
        color, tint = rng.uniform(90, 165, 3), rng.uniform(-12, 12, (2, 3))
        waves = rng.integers(-6, 7, (2, 2))
        across = np.arange(self.size) / self.size * 2 * np.pi
        angles = waves[:, :1, None] * across[:, None] + waves[:, 1:, None] * across
        texture = np.cos(angles + phases[:, None, None])
        return np.asarray(color + np.einsum("whx,wc->hxc", texture, tint))


def shuffle_frames(frames: Tensor, *, seed: int, index: int) -> Tensor:
    """Return the frames (T, ...) of clip `index` in a random order: a control without order."""
    order = np.random.default_rng(derive_seed("shuffled frames", seed, index))
    return frames[torch.from_numpy(order.permutation(len(frames)))]


def hold_frame(frames: Tensor, *, at: int) -> Tensor:
    """Return one frame of (T, ...) repeated T times: a control without motion."""
    return frames[[at] * len(frames)]


@dataclass(frozen=True, kw_only=True)
class _Dots:
    """Appearance of the dots: a striped Gaussian spot each.

    Attributes:
        colors: Color that the center of a dot adds to the background, shape (D, 3).
        waves: Wave numbers of the stripes across and down, in cycles per canvas, shape (D, 2).
        phases: Phases of the stripes, in radians, shape (D,).
    """

    colors: _FloatArray
    waves: _FloatArray
    phases: _FloatArray


def _draw_dots(
    rng: np.random.Generator, *, task: str, name: str, num_dots: int = NUM_DOTS
) -> _Dots:
    colors = rng.uniform(60, 110, (num_dots, 3)) * rng.choice([-1, 1], (num_dots, 1))
    tilts = rng.uniform(0, np.pi, num_dots)  # of the stripes, relative to upright
    if task == "order":
        tilts = np.where(np.arange(num_dots) % 2, np.pi / 2, 0)
    if task == "product":
        tilts = np.full(num_dots, np.pi / 2 if name.startswith("level") else 0)
    waves = rng.uniform(5, 8, (num_dots, 1)) * np.stack([np.cos(tilts), np.sin(tilts)], -1)
    return _Dots(colors=colors, waves=waves, phases=rng.uniform(0, 2 * np.pi, num_dots))


def _draw_places(
    rng: np.random.Generator, *, task: str, name: str, num_frames: int, num_dots: int = NUM_DOTS
) -> _FloatArray:
    """Draw the position of each dot at each frame: x and y in canvas sides, shape (T, D, 2)."""
    start = rng.uniform(size=(num_dots, 2))
    pace, angle, sense = rng.uniform(), rng.uniform(0, 2 * np.pi), int(rng.choice([-1, 1]))
    speed = 0.024 + 0.016 * pace  # canvas sides per frame: 1.5 to 2.6 of 64 pixels
    if task == "speed":
        speed = 0.01 + 0.005 * pace if name == "slow" else speed
    elif task != "order":
        angle = _angle(task, name, sense=sense)
    steps = np.arange(num_frames, dtype=np.float64)[:, None, None]
    if task == "order":
        steps = _turns(steps, level_first=name == "level-first", num_dots=num_dots)
    return np.asarray(start + steps * speed * np.array([math.cos(angle), math.sin(angle)]))


def _angle(task: str, name: str, *, sense: int) -> float:
    """Return the direction of a class in radians, from the right clockwise."""
    if task == "axis":
        return (name == "vertical") * math.pi / 2 + (sense < 0) * math.pi
    if task == "product":
        return math.pi * name.endswith("left")
    return 2 * math.pi * TASKS[task].index(name) / len(TASKS[task])


def _turns(steps: _FloatArray, *, level_first: bool, num_dots: int) -> _FloatArray:
    """Return the steps of each dot where the two kinds move in turn: shape (T, D, 1)."""
    middle = steps[-1] / 2
    first, second = np.minimum(steps, middle), np.maximum(steps - middle, 0)
    upright, level = (second, first) if level_first else (first, second)
    return np.asarray(np.where(np.arange(num_dots)[:, None] % 2, level, upright))


def _render(places_TD2: _FloatArray, dots: _Dots, *, size: int) -> _FloatArray:
    """Return the color that the dots add to the background: shape (T, H, W, 3).

    A striped Gaussian is the real part of a product of two complex ones, one along each axis.
    """
    offsets = _offsets(places_TD2, size=size)
    spots = np.exp(
        -((offsets / _DEVIATION) ** 2) / 2 + 2j * np.pi * offsets * dots.waves[..., None]
    )
    across, down = spots[:, :, 0] * np.exp(1j * dots.phases)[:, None], spots[:, :, 1]
    colored = across[..., None] * dots.colors[:, None]  # (T, D, W, 3)
    rows = np.concatenate([down.real, -down.imag], 1).astype(np.float32)
    columns = np.concatenate([colored.real, colored.imag], 1).astype(np.float32)
    painted = rows.transpose(0, 2, 1) @ columns.reshape(*columns.shape[:2], -1)
    return np.asarray(painted.reshape(len(painted), size, size, 3), np.float64)


def _offsets(places_TD2: _FloatArray, *, size: int) -> _FloatArray:
    """Return each pixel's offset from each dot, in canvas sides: shape (T, D, 2, W)."""
    pixels = np.arange(size) / size
    return np.asarray((pixels - places_TD2[..., None] + 0.5) % 1 - 0.5)  # the shorter way around
