"""Short videos whose classes differ by motion alone, for the demo and for tests.

Why a single frame is independent of the class: a frame is a fixed function of an appearance
(outlines, textures, colors, background) and of each shape's state: x, y, an angle and a scale. All
four are circular: the canvas wraps around, and the scale is a circle folded in two, so that it
grows to its limit and shrinks back. The initial state is uniform on these circles and independent
of the appearance and of the class. A class only adds a displacement that depends on the time, not
on the initial state. A uniform point of a circle plus an independent variable is uniform again (the
uniform distribution is the circle's Haar measure), and still independent of the appearance. So at
every frame the states, and with them the pictures, have the same distribution in every class. There
is no motion blur, and every frame is encoded by itself at a constant quantizer, so that a decoded
frame depends on its own picture alone.

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
from kinestore.store.io.atomic import written_whole

CLIP_WIDTH, CLIP_HEIGHT = 160, 120
CLIP_FPS = 25
CLIP_FRAMES = 41  # forty pairs of consecutive frames
NUM_SHAPES = 7
NUM_SCENES = 5

_SCALES = (0.65, 1.3)  # limits between which a shape grows and shrinks
_SCENES = (  # background color and the grain of its texture, in pixels
    ((70, 90, 120), 2.0),
    ((120, 100, 70), 3.0),
    ((80, 115, 85), 2.5),
    ((125, 85, 110), 4.0),
    ((110, 110, 110), 1.6),
)

_ENCODERS = {  # file ending, and a constant quantizer
    "libx264": (".mp4", {"qp": "23", "preset": "veryfast"}),
    "mpeg4": (".avi", {"qmin": "2", "qmax": "2"}),
}

_FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Manner:
    """Parameters of one clip's motion, with the same distribution in every class.

    Attributes:
        pace: Speed within the class's range, 0 to 1.
        sense: Direction of turning or zooming, -1 or 1.
        phase: Initial phase of a swing, in radians.
    """

    pace: float
    sense: int
    phase: float


def _columns(
    *, x: ArrayLike = 0, y: ArrayLike = 0, angle: ArrayLike = 0, zoom: ArrayLike = 0
) -> _FloatArray:
    return np.stack(np.broadcast_arrays(x, y, angle, zoom), axis=-1).astype(np.float64)


def _slide(t: _FloatArray, manner: _Manner) -> _FloatArray:
    return _columns(x=(1.6 + 0.8 * manner.pace) * t)


def _lift(t: _FloatArray, manner: _Manner) -> _FloatArray:
    return _columns(y=-(1.6 + 0.8 * manner.pace) * t)


def _turn(t: _FloatArray, manner: _Manner) -> _FloatArray:
    return _columns(angle=manner.sense * (0.09 + 0.04 * manner.pace) * t)


def _zoom(t: _FloatArray, manner: _Manner) -> _FloatArray:
    return _columns(zoom=manner.sense * (0.07 + 0.03 * manner.pace) * t)


def _shake(t: _FloatArray, manner: _Manner) -> _FloatArray:
    period = 12 - 4 * manner.pace
    swing = 2 * np.pi * t / period + manner.phase
    return _columns(x=5.0 * (np.sin(swing) - np.sin(manner.phase)))


def _orbit(t: _FloatArray, manner: _Manner) -> _FloatArray:
    radius = 12 + 4 * manner.pace
    bearing = 2 * np.pi * t / (CLIP_FRAMES - 1)
    return _columns(x=radius * np.sin(bearing), y=radius * (1 - np.cos(bearing)))


_MOTIONS: dict[str, Callable[[_FloatArray, _Manner], _FloatArray]] = {
    "lift": _lift,  # upwards
    "orbit": _orbit,  # once around a circle, without turning
    "shake": _shake,  # sideways, back and forth
    "slide": _slide,  # to the right
    "turn": _turn,  # about its own center, in either direction
    "zoom": _zoom,  # grow and shrink
}
CLASSES = tuple(_MOTIONS)


def render_clip(label: str, *, seed: int, scene: int = 0) -> NDArray[np.uint8]:
    """Draw one clip; clips that differ only in label have the same first frame.

    Args:
        label: One of CLASSES.
        seed: Seed of appearance, initial state, pace and direction, 0 or more.
        scene: Background color and grain, modulo NUM_SCENES.

    Returns:
        RGB, uint8, shape (T, H, W, 3) = (41, 120, 160, 3).

    Raises:
        UsageError: If the class is unknown.
    """
    if label not in _MOTIONS:
        raise UsageError(f"label={label!r}: must be one of {', '.join(CLASSES)}")
    rng = np.random.default_rng(seed)
    color, grain = _SCENES[scene % NUM_SCENES]
    background = drawing.draw_background(
        (CLIP_HEIGHT, CLIP_WIDTH), color=np.array(color, dtype=np.float32), grain=grain, rng=rng
    )
    shapes = [drawing.draw_shape(rng) for _ in range(NUM_SHAPES)]
    states_TS4 = _states(label, rng=rng)
    frames = np.empty((len(states_TS4), CLIP_HEIGHT, CLIP_WIDTH, 3), dtype=np.uint8)
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

    Classes, and within a class scenes, alternate, so that they are balanced. A fifth of each class,
    at least one clip of two or more, is marked for testing.

    Args:
        folder: Folder to write to, with a folder inside for each class; made if absent.
        num_clips: Number of clips, 1 or more.
        seed: A clip's content depends only on this and its name, for any num_clips; 0 or more.
        on_clip: Called with the path of each clip after it is written.

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
    with (
        written_whole(manifest) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        header = ("video", "label", "group", "split")
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return manifest


def write_video(stem: Path, frames: NDArray[np.uint8]) -> Path:
    """Encode each frame by itself, at 25 frames per second; equal frames give equal bytes.

    Args:
        stem: File to write, without suffix; its folder is made if absent.
        frames: RGB, uint8, shape (T, H, W, 3), H and W even.

    Returns:
        The file: `.mp4` (H.264), or `.avi` (MPEG-4) where FFmpeg was built without libx264.
    """
    encoder = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    suffix, options = _ENCODERS[encoder]
    path = stem.with_name(stem.name + suffix)
    _, height, width, _ = frames.shape
    with (
        written_whole(path) as unfinished,
        av.open(unfinished, "w", options={"fflags": "+bitexact"}) as container,
    ):
        stream = cast(VideoStream, container.add_stream(encoder, rate=CLIP_FPS, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = 1
        stream.codec_context.thread_count = 1
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def _states(label: str, *, rng: np.random.Generator) -> _FloatArray:
    """Draw the state (x, y, angle, zoom) of each shape at each frame: shape (T, S, 4)."""
    start = rng.uniform(size=(NUM_SHAPES, 4)) * (CLIP_WIDTH, CLIP_HEIGHT, 2 * np.pi, 2.0)
    manner = _Manner(
        pace=rng.uniform(), sense=int(rng.choice([-1, 1])), phase=rng.uniform(0, 2 * np.pi)
    )
    moved = _MOTIONS[label](np.arange(CLIP_FRAMES, dtype=np.float64), manner)
    return np.asarray(start + moved[:, None, :], dtype=np.float64)


def _fold(zoom: float) -> float:
    """Return the scale of a point on the zoom's circle, which has length 2."""
    small, large = _SCALES
    height = 1 - abs(zoom % 2 - 1)
    return float(small * (large / small) ** height)


def _clip_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def _test_numbers(count: int, *, seed: int) -> set[int]:
    num_test = max(1, round(count / 5)) if count > 1 else 0
    chosen = np.random.default_rng(seed).permutation(count)[:num_test]
    return {int(number) for number in chosen}
