"""Drawing of textured shapes on a canvas that wraps around, for `motion_videos`.

Shape legend: H height, W width, S side of a shape's tile, all in pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_FloatArray = NDArray[np.float32]

_TILE = 88  # side of a tile, with room for the largest outline and its soft edge
_RADIUS = 24.0  # mean radius of an outline at scale 1
_CENTER = (_TILE - 1) / 2


def draw_noise(size: tuple[int, int], *, grain: float, rng: np.random.Generator) -> _FloatArray:
    """Draw a smooth texture that wraps around, standardized to mean 0 and deviation 1.

    Args:
        size: (H, W).
        grain: Standard deviation of the blur: about half the width of one speckle.
        rng: Generator of the white noise.

    Returns:
        float32, shape (H, W).
    """
    pad = int(4 * grain)
    white = np.pad(rng.standard_normal(size).astype(np.float32), pad, mode="wrap")
    smooth = cv2.GaussianBlur(white, (0, 0), grain)[pad:-pad, pad:-pad]
    return np.asarray((smooth - smooth.mean()) / smooth.std(), dtype=np.float32)


def draw_shape(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an outline, a two-color texture and its colors at random.

    Returns:
        Color times coverage, and coverage: uint8, shape (S, S, 4).
    """
    ink = _contrasting_colors(rng)
    speckle = draw_noise((_TILE, _TILE), grain=float(rng.uniform(1.8, 2.8)), rng=rng)
    mix = 0.5 + 0.5 * np.tanh(2.0 * speckle)
    rgb = ink[0] + (ink[1] - ink[0]) * mix[..., None]
    coverage = _outline(rng)[..., None]
    layers = np.concatenate([rgb * coverage, 255 * coverage], axis=2)
    return np.asarray(np.rint(layers), dtype=np.uint8)


def draw_background(
    size: tuple[int, int], *, color: _FloatArray, grain: float, rng: np.random.Generator
) -> _FloatArray:
    """Draw a textured, wrapping background around one color.

    Args:
        size: (H, W).
        color: RGB, 0 to 255, shape (3,).
        grain: See `draw_noise`.
        rng: Generator of the texture and of a small shift in color.

    Returns:
        0 to 255, float32, shape (H, W, 3).
    """
    shifted = color + rng.uniform(-12, 12, size=3)
    texture = 20.0 * draw_noise(size, grain=grain, rng=rng)
    return np.clip(shifted + texture[..., None], 0, 255).astype(np.float32)


def paste(
    canvas: _FloatArray,
    shape: NDArray[np.uint8],
    *,
    x: float,
    y: float,
    angle: float,
    scale: float,
) -> None:
    """Blend a shape into a canvas that wraps around, in place.

    Args:
        canvas: 0 to 255, float32, shape (H, W, 3), each side at least a tile.
        shape: Result of `draw_shape`.
        x: Center in pixels, any number: it wraps around.
        y: Center in pixels, any number: it wraps around.
        angle: Rotation in radians.
        scale: Size, 1 for the shape as drawn.
    """
    left, top = int(np.floor(x)), int(np.floor(y))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    target = (_CENTER + (x - left), _CENTER + (y - top))
    offset = target - turn @ (_CENTER, _CENTER)
    over = cv2.warpAffine(shape, np.column_stack([turn, offset]), (_TILE, _TILE))
    color, clear = over[..., :3], 1 - over[..., 3:] / np.float32(255)
    for rows, tile_rows in _wrap(top - _TILE // 2, canvas.shape[0]):
        for columns, tile_columns in _wrap(left - _TILE // 2, canvas.shape[1]):
            under = canvas[rows, columns]
            under *= clear[tile_rows, tile_columns]
            under += color[tile_rows, tile_columns]


def _wrap(start: int, length: int) -> list[tuple[slice, slice]]:
    """Return the pieces of a tile along a side that wraps: (part of side, part of tile)."""
    start %= length
    fits = min(_TILE, length - start)
    pieces = [(slice(start, start + fits), slice(0, fits))]
    if fits < _TILE:
        pieces.append((slice(0, _TILE - fits), slice(fits, _TILE)))
    return pieces


def _outline(rng: np.random.Generator) -> _FloatArray:
    """Draw a rounded blob, star or polygon: a circle modulated by three random waves."""
    bearing = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    waves = rng.integers(2, 7, size=3)
    height = rng.uniform(0.03, 0.1, size=3)
    shift = rng.uniform(0, 2 * np.pi, size=3)
    bend = (height[:, None] * np.cos(waves[:, None] * bearing + shift[:, None])).sum(axis=0)
    radius = _RADIUS * (1 + bend)
    rim = np.column_stack([np.cos(bearing), np.sin(bearing)]) * radius[:, None] + _CENTER
    mask = np.zeros((_TILE, _TILE), dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(rim * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8) / 255, dtype=np.float32)


def _contrasting_colors(rng: np.random.Generator) -> _FloatArray:
    """Draw a dark and a light color of random hues, in either order: float32, shape (2, 3)."""
    dark, light = rng.uniform(0, 110, size=3), rng.uniform(150, 255, size=3)
    pair = np.stack([dark, light]).astype(np.float32)
    return np.asarray(pair[:: rng.choice([-1, 1])], dtype=np.float32)
