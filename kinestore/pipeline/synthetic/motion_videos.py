"""Short videos whose classes differ by motion alone, for the demo and for tests.

Why one frame says nothing about the class. A frame is a fixed function of an appearance (outlines,
textures, colours, background) and of each shape's state: x, y, an angle and a scale. All four live
on circles: the canvas wraps around, and the scale is a circle folded in two, so that it grows to
its limit and shrinks back. The starting state is uniform on these circles and independent of the
appearance and of the class. A class only adds a displacement that depends on the time and on
nothing of the start. A uniform point of a circle plus anything independent of it is uniform again
(the uniform law is the circle's Haar measure), and still independent of the appearance. So at every
frame of every class the states follow one and the same law, and with them the pictures. There is no
motion blur, and every frame is encoded by itself at a constant quantiser, so that a decoded frame
depends on its own picture and not on its neighbours'.

Shape legend: T frames, H height, W width, S shapes.
"""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import ArrayLike, NDArray

from kinestore.pipeline.synthetic import textured_shapes as drawing
from kinestore.store.errors import UsageError

WIDTH, HEIGHT = 160, 120
FPS = 25
NUM_FRAMES = 41  # forty pairs of consecutive frames
NUM_SHAPES = 7
NUM_SCENES = 5

_SCALES = (0.65, 1.3)  # limits between which a shape grows and shrinks
_SCENES = (  # background colour and the grain of its texture, in pixels
    ((70, 90, 120), 2.0),
    ((120, 100, 70), 3.0),
    ((80, 115, 85), 2.5),
    ((125, 85, 110), 4.0),
    ((110, 110, 110), 1.6),
)

_ENCODERS = {  # file ending, and a constant quantiser
    "libx264": (".mp4", {"qp": "23", "preset": "veryfast"}),
    "mpeg4": (".avi", {"qmin": "2", "qmax": "2"}),
}

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Manner:
    """How one clip performs its class: drawn alike for every class.

    Attributes:
        pace: Speed within the class's range, 0 to 1.
        sense: Clockwise or not, -1 or 1.
        phase: Where a swing starts, in radians.
    """

    pace: float
    sense: int
    phase: float


def _columns(
    *, x: ArrayLike = 0, y: ArrayLike = 0, angle: ArrayLike = 0, zoom: ArrayLike = 0
) -> FloatArray:
    return np.stack(np.broadcast_arrays(x, y, angle, zoom), axis=-1).astype(np.float64)


def _slide(t: FloatArray, manner: _Manner) -> FloatArray:
    return _columns(x=(1.6 + 0.8 * manner.pace) * t)


def _lift(t: FloatArray, manner: _Manner) -> FloatArray:
    return _columns(y=-(1.6 + 0.8 * manner.pace) * t)


def _turn(t: FloatArray, manner: _Manner) -> FloatArray:
    return _columns(angle=manner.sense * (0.09 + 0.04 * manner.pace) * t)


def _zoom(t: FloatArray, manner: _Manner) -> FloatArray:
    return _columns(zoom=manner.sense * (0.07 + 0.03 * manner.pace) * t)


def _shake(t: FloatArray, manner: _Manner) -> FloatArray:
    period = 12 - 4 * manner.pace
    swing = 2 * np.pi * t / period + manner.phase
    return _columns(x=5.0 * (np.sin(swing) - np.sin(manner.phase)))


def _orbit(t: FloatArray, manner: _Manner) -> FloatArray:
    radius = 12 + 4 * manner.pace
    bearing = 2 * np.pi * t / (NUM_FRAMES - 1)
    return _columns(x=radius * np.sin(bearing), y=radius * (1 - np.cos(bearing)))


_MOTIONS: dict[str, Callable[[FloatArray, _Manner], FloatArray]] = {
    "lift": _lift,  # upwards
    "orbit": _orbit,  # once around a circle, without turning
    "shake": _shake,  # to and fro sideways
    "slide": _slide,  # to the right
    "turn": _turn,  # either way about its own centre
    "zoom": _zoom,  # grow and shrink
}
CLASSES = tuple(_MOTIONS)


def render_clip(label: str, *, seed: int, scene: int = 0) -> NDArray[np.uint8]:
    """Draw one clip; clips that differ in label alone share their first frame.

    Args:
        label: One of CLASSES.
        seed: Source of appearance, starting state, pace and direction, 0 or more.
        scene: Which background colour and grain, taken modulo NUM_SCENES.

    Returns:
        RGB, uint8, shape (T, H, W, 3) = (41, 120, 160, 3).

    Raises:
        UsageError: If there is no such class.
    """
    if label not in _MOTIONS:
        raise UsageError(f"label={label!r}: must be one of {', '.join(CLASSES)}")
    rng = np.random.default_rng(seed)
    colour, grain = _SCENES[scene % NUM_SCENES]
    background = drawing.draw_background(
        (HEIGHT, WIDTH), colour=np.array(colour, dtype=np.float32), grain=grain, rng=rng
    )
    shapes = [drawing.draw_shape(rng) for _ in range(NUM_SHAPES)]
    states_TS4 = _states(label, rng=rng)
    frames = np.empty((len(states_TS4), HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, states in zip(frames, states_TS4, strict=True):
        canvas = background.copy()
        for shape, (x, y, angle, zoom) in zip(shapes, states, strict=True):
            drawing.paste(canvas, shape, x=x, y=y, angle=angle, scale=_fold(zoom))
        frame[:] = np.rint(canvas)
    return frames


def make_clips(
    folder: Path,
    *,
    num_clips: int = 60,
    seed: int = 0,
    on_clip: Callable[[Path], None] | None = None,
) -> Path:
    """Write clips of all classes as small video files, with a manifest.

    Classes and, within a class, scenes take turns, so that they come in equal numbers. A fifth of
    each class, though at least one of two, is for testing.

    Args:
        folder: Where to write; one folder inside for each class. Made if it is absent.
        num_clips: How many clips, 1 or more.
        seed: A clip's content depends on this and on its name alone, whatever num_clips is.
        on_clip: Called with the path of each clip once that is written.

    Returns:
        Path of `labels.csv`: video (relative to the folder), label, group (its scene), split.

    Raises:
        UsageError: If num_clips is below 1, seed is negative or the folder is a file.
    """
    if num_clips < 1:
        raise UsageError(f"num_clips={num_clips}: must be 1 or more")
    if seed < 0:
        raise UsageError(f"seed={seed}: must be 0 or more")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"folder={folder}: is a file, name a folder to write to")
    manifest = folder / "labels.csv"
    rows = []
    for label in CLASSES:
        count = len(range(CLASSES.index(label), num_clips, len(CLASSES)))
        tests = _test_numbers(count, seed=_clip_seed(seed, label))
        for number in range(count):
            name, scene = f"{label}/{label}_{number:03d}", number % NUM_SCENES
            frames = render_clip(label, seed=_clip_seed(seed, name), scene=scene)
            path = write_video(folder / name, frames)
            split = "test" if number in tests else "train"
            rows.append((f"{label}/{path.name}", label, f"scene{scene + 1}", split))
            if on_clip is not None:
                on_clip(path)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        header = ("video", "label", "group", "split")
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return manifest


def write_video(stem: Path, frames: NDArray[np.uint8]) -> Path:
    """Encode frames, each by itself, at 25 frames per second; the same frames give the same bytes.

    Args:
        stem: File to write, without its ending; its folder is made if absent.
        frames: RGB, uint8, shape (T, H, W, 3), H and W even.

    Returns:
        The file: `.mp4` (H.264), or `.avi` (MPEG-4) where FFmpeg was built without libx264.
    """
    encoder = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    suffix, options = _ENCODERS[encoder]
    path = stem.with_name(stem.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    _, height, width, _ = frames.shape
    with av.open(path, "w", options={"fflags": "+bitexact"}) as container:
        stream = cast(VideoStream, container.add_stream(encoder, rate=FPS, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = 1
        stream.codec_context.thread_count = 1
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def _states(label: str, *, rng: np.random.Generator) -> FloatArray:
    """State (x, y, angle, zoom) of each shape at each frame, shape (T, S, 4); see the module."""
    start = rng.uniform(size=(NUM_SHAPES, 4)) * (WIDTH, HEIGHT, 2 * np.pi, 2.0)
    manner = _Manner(
        pace=rng.uniform(), sense=int(rng.choice([-1, 1])), phase=rng.uniform(0, 2 * np.pi)
    )
    moved = _MOTIONS[label](np.arange(NUM_FRAMES, dtype=np.float64), manner)
    return np.asarray(start + moved[:, None, :], dtype=np.float64)


def _fold(zoom: float) -> float:
    """Scale of a point on the zoom's circle (of length 2): up along one half, down the other."""
    small, large = _SCALES
    height = 1 - abs(zoom % 2 - 1)
    return float(small * (large / small) ** height)


def _clip_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def _test_numbers(count: int, *, seed: int) -> set[int]:
    num_test = max(1, round(count / 5)) if count > 1 else 0
    chosen = np.random.default_rng(seed).permutation(count)[:num_test]
    return {int(number) for number in chosen}
