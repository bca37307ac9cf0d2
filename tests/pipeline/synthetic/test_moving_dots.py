"""Dots whose class is in their motion alone: what one frame, or shuffled ones, can tell."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kinestore.pipeline.synthetic import moving_dots as motion_dots
from kinestore.pipeline.synthetic.moving_dots import TASKS, MotionDots, hold_frame, shuffle_frames
from kinestore.store import UsageError

SEEDS = (0, 1, 2)
CLASSES = [(task, name) for task, names in TASKS.items() for name in names]


def places(task: str, name: str, *, clip: int, num_frames: int = 20) -> NDArray[np.float64]:
    rng = np.random.default_rng(clip)
    return motion_dots._draw_places(rng, task=task, name=name, num_frames=num_frames)


def steps(task: str, name: str, *, clip: int = 0) -> NDArray[np.float64]:
    """How far each dot goes from frame to frame, in pixels of 64, shape (T - 1, D, 2)."""
    return 64 * np.diff(places(task, name, clip=clip), axis=0)


def kolmogorov(shares: NDArray[np.float64]) -> float:
    """Kolmogorov's statistic against the uniform law on [0, 1), times the root of the count."""
    count = len(shares)
    above = np.arange(1, count + 1) / count - np.sort(shares)
    return float(np.sqrt(count) * max(above.max(), (1 / count - above).max()))


def test_places_are_uniform_at_every_frame_of_every_class() -> None:
    """On 1,200 dots; 22 classes x 2 coordinates x 3 frames = 132 tests, each at p > 1e-4 (2.23).

    A start in all but a tenth of the canvas would give 35 * 0.1 = 3.5.
    """
    for number, (task, name) in enumerate(CLASSES):
        drawn = np.stack([places(task, name, clip=1000 * number + clip) for clip in range(200)])
        for frame in (0, 7, 19):
            shares = (drawn[:, frame] % 1).reshape(-1, 2)
            for coordinate in range(2):
                assert kolmogorov(shares[:, coordinate]) < 2.23, (task, name, frame, coordinate)


@pytest.mark.parametrize("task", TASKS)
def test_clips_that_differ_in_label_alone_begin_with_the_same_picture(task: str) -> None:
    dots = MotionDots(task=task)
    clips = [dots.clip(5, label=label)[0] for label in range(len(dots.classes))]
    assert len({clip.numpy().tobytes() for clip in clips}) == len(clips)
    same_look = {"product": [[0, 1], [2, 3]]}.get(task, [list(range(len(clips)))])
    for labels in same_look:
        assert len({clips[label][0].numpy().tobytes() for label in labels}) == 1
    assert len({clip[0].numpy().tobytes() for clip in clips}) == len(same_look)


@pytest.mark.parametrize(
    ("task", "name", "across", "down"),
    [
        ("direction4", "right", 1, 0),
        ("direction4", "down", 0, 1),
        ("direction4", "left", -1, 0),
        ("direction4", "up", 0, -1),
        ("direction8", "right-down", math.sqrt(0.5), math.sqrt(0.5)),
        ("direction8", "left-up", -math.sqrt(0.5), -math.sqrt(0.5)),
        ("product", "level-left", -1, 0),
        ("product", "upright-right", 1, 0),
    ],
)
def test_dots_go_where_the_class_says(task: str, name: str, across: float, down: float) -> None:
    for clip in range(5):
        moved = steps(task, name, clip=clip)
        speed = np.hypot(moved[..., 0], moved[..., 1])
        np.testing.assert_allclose(moved, speed[..., None] * [across, down], atol=1e-9)
        # 0.024 and 0.04 of 64 pixels
        assert speed.min() > 1.53 and speed.max() < 2.57


def test_an_axis_is_gone_along_either_way_and_a_speed_any_way() -> None:
    signs = {
        (name, tuple(np.sign(np.rint(steps("axis", name, clip=clip)[0, 0]))))
        for name in TASKS["axis"]
        for clip in range(20)
    }
    wanted = {("horizontal", (s, 0)) for s in (-1, 1)} | {("vertical", (0, s)) for s in (-1, 1)}
    assert signs == wanted
    for name, low, high in (("slow", 0.64, 0.96), ("fast", 1.53, 2.57)):
        moved = np.stack([steps("speed", name, clip=clip)[0, 0] for clip in range(40)])
        speed = np.hypot(*moved.T)
        assert low <= speed.min() and speed.max() <= high
        quarters = set(np.floor(np.arctan2(moved[:, 1], moved[:, 0]) / (np.pi / 2)))
        assert len(quarters) == 4


def test_in_order_one_half_of_the_dots_rests_while_the_other_moves() -> None:
    for name, first in (("upright-first", 0), ("level-first", 1)):
        moves = np.hypot(*np.moveaxis(steps("order", name), -1, 0)) > 1e-9  # (19, D)
        # 19 steps: nine and a half each
        assert moves[:9, first::2].all() and not moves[:9, 1 - first :: 2].any()
        assert moves[10:, 1 - first :: 2].all() and not moves[10:, first::2].any()


@pytest.mark.parametrize(
    ("task", "name", "other"),
    [
        ("direction4", "right", "left"),
        ("direction4", "down", "up"),
        ("direction8", "right-up", "left-down"),
        ("product", "level-left", "level-right"),
    ],
)
def test_a_direction_read_backwards_is_its_opposite_from_another_start(
    task: str, name: str, other: str
) -> None:
    """So without their order the frames of the two have one law, starts being uniform."""
    backwards, forwards = places(task, name, clip=3)[::-1], places(task, other, clip=3)
    offset = backwards - forwards
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:1], offset.shape), atol=1e-12)


def test_an_order_read_backwards_is_the_other_order_the_opposite_way() -> None:
    backwards = np.diff(places("order", "upright-first", clip=3)[::-1], axis=0)
    forwards = np.diff(places("order", "level-first", clip=3), axis=0)
    np.testing.assert_allclose(backwards, -forwards, atol=1e-12)


def test_a_dot_that_leaves_on_one_side_comes_back_on_the_other() -> None:
    look = motion_dots._draw_dots(np.random.default_rng(0), task="axis", name="vertical")
    start = np.random.default_rng(1).uniform(size=(1, motion_dots.NUM_DOTS, 2))
    first, moved, around = (
        motion_dots._render(start + offset, look, size=64)[0]
        for offset in ([0, 0], [40 / 64, -25 / 64], [3, -2])
    )
    # float32 products; values reach some hundreds
    np.testing.assert_allclose(moved, np.roll(first, (-25, 40), axis=(0, 1)), atol=1e-3)
    np.testing.assert_allclose(around, first, atol=1e-3)


def test_a_dot_is_a_striped_gaussian_by_loops() -> None:
    look = motion_dots._draw_dots(np.random.default_rng(2), task="axis", name="vertical")
    start = np.random.default_rng(3).uniform(size=(1, motion_dots.NUM_DOTS, 2))
    painted = motion_dots._render(start, look, size=16)[0]
    wanted = np.zeros((16, 16, 3))
    for y, x, dot in np.ndindex(16, 16, motion_dots.NUM_DOTS):
        away = [(p / 16 - c + 0.5) % 1 - 0.5 for p, c in zip((x, y), start[0, dot], strict=True)]
        wave = 2 * np.pi * float(np.dot(away, look.waves[dot])) + look.phases[dot]
        spot = math.exp(-(away[0] ** 2 + away[1] ** 2) / (2 * 0.05**2)) * math.cos(wave)
        wanted[y, x] += look.colors[dot] * spot
    np.testing.assert_allclose(painted, wanted, atol=1e-4)  # float32 of some hundreds


def map_dots(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far pixels are from the middle colour, over 16 x 16 cells, whatever way."""
    away = np.abs(picture - np.median(picture, (0, 1))).sum(-1)
    return np.asarray(away.reshape(16, 4, 16, 4).mean((1, 3)).ravel(), dtype=np.float64)


def histogram_gradients(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Eight unsigned orientations over the whole picture, and their sums over rows and columns."""
    down, across = np.gradient(picture.mean(-1))
    bins = np.floor(np.arctan2(down, across) % np.pi / np.pi * 8).astype(int) % 8
    maps = np.stack([np.where(bins == k, np.hypot(across, down), 0) for k in range(8)])
    return np.concatenate([maps.sum((1, 2)), *maps.sum(1), *maps.sum(2)])


def guess_held_out(
    describe: Callable[[NDArray[np.uint8]], NDArray[np.float64]], *, num_clips: int = 120
) -> float:
    """Accuracy on each seed's clips of a classifier fitted to one frame of the other seeds'."""
    pictures = [
        MotionDots(seed=seed, num_frames=6).clip(index)[0][5].numpy()
        for seed in SEEDS
        for index in range(num_clips)
    ]
    features = np.stack([describe(picture) for picture in pictures])
    labels = np.tile(np.arange(num_clips) % 4, len(SEEDS))
    correct = 0
    for number in range(len(SEEDS)):
        test = np.repeat(np.arange(len(SEEDS)), num_clips) == number
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        correct += (model.fit(features[~test], labels[~test]).predict(features[test])
                    == labels[test]).sum()  # fmt: skip
    return correct / len(labels)


SIGMA = math.sqrt(1 / 4 * 3 / 4 / 360)


@pytest.mark.parametrize("describe", [map_dots, histogram_gradients])
def test_one_frame_leaves_the_direction_at_chance(
    describe: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
) -> None:
    assert abs(guess_held_out(describe) - 1 / 4) < 3 * SIGMA


@pytest.mark.parametrize("describe", [map_dots, histogram_gradients])
def test_the_same_probe_sees_the_direction_where_the_start_is_not_uniform(
    describe: Callable[[NDArray[np.uint8]], NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = motion_dots._draw_places

    def from_one_place(rng: np.random.Generator, **wanted: Any) -> NDArray[np.float64]:
        drawn = draw(rng, **wanted)
        return np.asarray(0.5 + drawn - drawn[:1])

    monkeypatch.setattr(motion_dots, "_draw_places", from_one_place)
    assert guess_held_out(describe) > 1 / 4 + 6 * SIGMA


def test_a_clip_depends_on_seed_index_and_settings_alone() -> None:
    before = torch.get_rng_state()
    frames, labels = MotionDots(seed=4).batch(6, 9)
    assert frames.dtype == torch.uint8 and frames.shape == (3, 20, 64, 64, 3)
    assert labels.dtype == torch.int64 and labels.tolist() == [2, 3, 0]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(frames[1], MotionDots(seed=4).clip(7)[0])
    assert not torch.equal(frames[1], MotionDots(seed=5).clip(7)[0])
    assert not torch.equal(frames[1, 0], frames[2, 0])
    shorter = MotionDots(seed=4, num_frames=7).clip(7)[0]
    assert torch.equal(shorter, frames[1, :7])
    assert MotionDots(size=32).clip(0)[0].shape == (20, 32, 32, 3)


def test_a_client_has_its_own_background_and_the_dots_are_everybodys() -> None:
    clips = {
        (client, index): MotionDots(client=client).clip(index, label=0)[0].double()
        for client in (1, 2)
        for index in (0, 1)
    }
    # dots cover a tenth of the picture, and a median does not mind them
    colors = {key: clip.flatten(0, 2).median(0).values for key, clip in clips.items()}
    for client in (1, 2):
        assert (colors[client, 0] - colors[client, 1]).abs().max() < 6
    assert (colors[1, 0] - colors[2, 0]).abs().max() > 20
    # the difference of two cameras at one index holds still, but where a value is cut off
    first, second = clips[1, 0], clips[2, 0]
    whole = torch.stack([first, second]).clamp(1, 254).eq(torch.stack([first, second])).all(0)
    between = first - second
    assert (between - between[0])[whole & whole[0]].abs().max() <= 2  # rounded four times
    assert whole.double().mean() > 0.95


def test_the_controls_keep_the_frames_and_lose_their_order_or_their_motion() -> None:
    frames = MotionDots().clip(0)[0]
    shuffled = shuffle_frames(frames, seed=1, index=0)
    kept = sorted(frame.numpy().tobytes() for frame in frames)
    assert sorted(frame.numpy().tobytes() for frame in shuffled) == kept
    assert not torch.equal(shuffled, frames)
    assert torch.equal(shuffled, shuffle_frames(frames, seed=1, index=0))
    assert not torch.equal(shuffled, shuffle_frames(frames, seed=1, index=1))
    held = hold_frame(frames, at=3)
    assert held.shape == frames.shape and all(torch.equal(frame, frames[3]) for frame in held)


def test_every_order_of_three_frames_is_as_likely() -> None:
    orders = [
        tuple(shuffle_frames(torch.arange(3), seed=0, index=index).tolist()) for index in range(600)
    ]
    counts = [orders.count(order) for order in set(orders)]
    # 100 each; the deviation of one is sqrt(600 * 1/6 * 5/6) = 9.1
    assert len(counts) == 6 and min(counts) > 100 - 4 * 9.1 and max(counts) < 100 + 4 * 9.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "walk"}, r"task='walk': must be one of direction4, direction8, axis, speed, ord"),
        ({"num_frames": 1}, r"num_frames=1: must be 2 or more"),
        ({"size": 15}, r"size=15: must be 16 or more"),
        ({"seed": -1}, r"seed=-1: must be 0 or more"),
        ({"client": -1}, r"client=-1: must be 0 or more"),
        ({"num_dots": 0}, r"num_dots=0: must be 1 or more"),
        ({"num_dots": 1, "task": "order"}, r"num_dots=1: must be 2 or more"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MotionDots(**settings)


def test_a_wrong_clip_is_told_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"index=-1: must be 0 or more"):
        MotionDots().clip(-1)
    with pytest.raises(UsageError, match=r"label=4: must be from 0 to 3"):
        MotionDots().clip(0, label=4)


def test_dots_cover_the_pixels_within_two_deviations_by_loops() -> None:
    dots = MotionDots(num_frames=3, size=16, num_dots=2, seed=4)
    _, _, middles = dots._draw(7, 3)
    wanted = np.zeros((3, 16, 16), bool)
    for frame, y, x, dot in np.ndindex(3, 16, 16, 2):
        pairs = zip((x, y), middles[frame, dot], strict=True)
        away = [(pixel / 16 - middle + 0.5) % 1 - 0.5 for pixel, middle in pairs]
        wanted[frame, y, x] |= math.hypot(*away) <= 0.1
    assert wanted.any() and not wanted.all()
    np.testing.assert_array_equal(dots.dot_mask(7), wanted)


def test_a_clip_without_contrast_beyond_what_dots_cover_is_its_background() -> None:
    """Outside of it a dot adds at most exp(-2) of 110, or 15, and mostly next to nothing."""
    dots = MotionDots(num_frames=2, num_dots=1)
    frames, _ = dots.clip(5)
    one, other = frames.numpy().astype(int)
    still = ~dots.dot_mask(5).any(0)
    assert 0.9 < still.mean() < 1
    assert abs(one - other)[still].max() <= 2 * 15 + 1  # of the two frames, and a rounding
    assert abs(one - other)[~still].max() > 40
