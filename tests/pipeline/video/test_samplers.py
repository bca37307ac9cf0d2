from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.transforms import functional

from kinestore.samplers import (
    center_crop,
    center_segments,
    consecutive_clips,
    dense_clip,
    first_frames,
    random_clip,
    random_segments,
    stepped_frames,
    three_crop,
    uniform_clips,
)
from kinestore.store import UsageError

MANY = settings(max_examples=100, deadline=None)
FRAMES = st.integers(1, 120)
COUNT = st.integers(1, 20)
SEED = st.integers(0, 2**32 - 1)


def check_clips(clips: NDArray[np.int64], shape: tuple[int, ...], *, num_frames: int) -> None:
    """What holds for every scheme."""
    assert clips.dtype == np.int64 and clips.shape == shape
    assert clips.min() >= 0 and clips.max() < num_frames
    assert (np.diff(clips, axis=-1) >= 0).all()


# Segments


def test_center_segments_worked_by_hand() -> None:
    # T=10, S=3: tick = 10/3; the starts are int(1.67), int(5) and int(8.33).
    assert center_segments(10, num_segments=3).tolist() == [[1], [5], [8]]


def test_five_frames_about_a_segments_centre_worked_by_hand() -> None:
    # T=28, S=3, L=5: tick = (28 - 4)/3 = 8; the starts are 4, 12 and 20. The middle column is the
    # frame itself, with two neighbours on each side.
    expected = [[4, 5, 6, 7, 8], [12, 13, 14, 15, 16], [20, 21, 22, 23, 24]]
    assert center_segments(28, num_segments=3, length=5).tolist() == expected


@pytest.mark.parametrize("num_segments", [3, 8, 16])
@pytest.mark.parametrize("length", [1, 5])
def test_center_segments_equal_the_published_formula(num_segments: int, length: int) -> None:
    for num_frames in range(num_segments + length, 400):
        tick = (num_frames - length + 1) / num_segments
        expected = [int(tick / 2 + tick * i) for i in range(num_segments)]
        segments = center_segments(num_frames, num_segments=num_segments, length=length)
        assert segments[:, 0].tolist() == expected


def test_center_segments_are_not_moved_by_rounding() -> None:
    # T=6, S=7: the middle of segment 3 is 6 * 7 / 14 = 3 exactly; in floats 6/7/2 + 6/7*3 is just
    # below 3.
    assert int(6 / 7 / 2 + 6 / 7 * 3) == 2
    assert center_segments(6, num_segments=7)[:, 0].tolist() == [0, 1, 2, 3, 3, 4, 5]


@MANY
@given(FRAMES, COUNT, COUNT, SEED)
def test_segments_are_clips_of_consecutive_frames(
    num_frames: int, num_segments: int, length: int, seed: int
) -> None:
    sizes = {"num_segments": num_segments, "length": length}
    for segments in (
        center_segments(num_frames, **sizes),
        random_segments(num_frames, **sizes, seed=seed),
    ):
        check_clips(segments, (num_segments, length), num_frames=num_frames)
        starts = segments[:, 0]
        assert (np.diff(starts) >= 0).all()
        assert np.array_equal(
            segments, np.minimum(starts[:, None] + np.arange(length), num_frames - 1)
        )


@MANY
@given(st.integers(1, 30), COUNT, st.integers(1, 8), st.integers(0, 19), SEED)
def test_each_start_stays_in_its_segment(
    segment: int, num_segments: int, length: int, tail: int, seed: int
) -> None:
    num_starts = segment * num_segments + tail % num_segments
    num_frames = num_starts + length - 1
    sizes = {"num_segments": num_segments, "length": length}
    segments = random_segments(num_frames, **sizes, seed=seed)
    assert (segments[:, 0] // segment).tolist() == list(range(num_segments))
    assert (np.diff(segments) == 1).all()  # no frame repeats


def test_random_starts_reach_every_place_of_every_segment() -> None:
    # T=15, S=3, L=5: 15 - 5 + 1 = 11 places, floor(11 / 3) = 3 for each segment: 0-2, 3-5, 6-8.
    starts = [random_segments(15, num_segments=3, length=5, seed=s)[:, 0] for s in range(100)]
    reached = [set(column.tolist()) for column in np.stack(starts, axis=1)]
    assert reached == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}]


def test_random_starts_of_a_short_video_reach_all_of_it() -> None:
    drawn = [random_segments(4, num_segments=8, seed=seed) for seed in range(20)]
    assert {int(frame) for segments in drawn for frame in segments[:, 0]} == {0, 1, 2, 3}


def test_short_videos_in_segments_worked_by_hand() -> None:
    # T=4, S=8: tick = 1/2, the starts are int(i/2 + 1/4).
    assert center_segments(4, num_segments=8)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # T=3, L=5: one place to start at, and the last frame repeats.
    for short in (
        center_segments(3, num_segments=2, length=5),
        random_segments(3, num_segments=2, length=5, seed=0),
    ):
        assert short.tolist() == [[0, 1, 2, 2, 2]] * 2


# Maximum length and step


def test_first_frames_cut_a_long_video_and_pad_a_short_one() -> None:
    indices, mask = first_frames(100, max_length=4)
    assert indices.tolist() == [0, 1, 2, 3] and mask.tolist() == [True] * 4
    indices, mask = first_frames(2, max_length=4)
    assert indices.tolist() == [0, 1, 1, 1] and mask.tolist() == [True, True, False, False]


def test_first_frames_thinned_by_a_slice_keep_their_mask() -> None:
    # Maximum length 100, 10 frames: step = 100 / 10 = 10. Of 35 frames, 0, 10, 20 and 30 are real.
    indices, mask = first_frames(35, max_length=100)
    assert indices[::10].tolist() == [0, 10, 20, 30] + [34] * 6
    assert mask[::10].tolist() == [True] * 4 + [False] * 6


@MANY
@given(FRAMES, st.integers(1, 200))
def test_the_mask_is_true_for_each_frame_once(num_frames: int, max_length: int) -> None:
    indices, mask = first_frames(num_frames, max_length=max_length)
    check_clips(indices, (max_length,), num_frames=num_frames)
    assert mask.dtype == np.bool_ and mask.shape == (max_length,)
    assert indices[mask].tolist() == list(range(min(num_frames, max_length)))


@pytest.mark.parametrize(
    ("num_frames", "count", "expected", "released"),
    [
        (100, 4, [0, 33, 66, 99], [0, 32, 64, 96]),  # floor(100/3) = 33
        (12, 4, [0, 4, 8, 11], [0, 3, 6, 9]),  # floor(12/3) = 4; 3*4 = 12 is clipped
        (11, 5, [0, 2, 4, 6, 8], [0, 1, 2, 3, 4]),  # floor(11/4) = 2
        (5, 4, [0, 1, 2, 3], [0, 0, 0, 0]),  # floor(5/3) = 1
        (2, 4, [0, 1, 1, 1], [0, 0, 0, 0]),  # floor(2/3) = 0, raised to 1
        (9, 1, [0], [0]),
    ],
)
def test_stepped_frames_worked_by_hand(
    num_frames: int, count: int, expected: list[int], released: list[int]
) -> None:
    assert stepped_frames(num_frames, count=count).tolist() == expected
    assert stepped_frames(num_frames, count=count, as_released=True).tolist() == released


@MANY
@given(FRAMES, st.integers(2, 30))
def test_steps_leave_out_less_than_one_frame_for_each_gap(num_frames: int, count: int) -> None:
    frames = stepped_frames(num_frames, count=count)
    check_clips(frames, (count,), num_frames=num_frames)
    assert frames[0] == 0
    assert num_frames - 1 - frames[-1] < count - 1  # the floor takes less than 1 off each gap
    released = stepped_frames(num_frames, count=count, as_released=True)
    check_clips(released, (count,), num_frames=num_frames)


# Dense clips


def test_dense_clips_worked_by_hand() -> None:
    assert dense_clip(20, start=3, length=4, stride=2).tolist() == [3, 5, 7, 9]
    assert dense_clip(8, start=5, length=3, stride=2).tolist() == [5, 7, 7]  # 9 is past the end


def test_uniform_clips_worked_by_hand() -> None:
    # T=20, L=4, stride 2: a clip spans 7 frames, so that starts are 0 to 13; three of them: 0, 6.5
    # (rounded to 6) and 13. One clip has its start at 13 // 2.
    three = uniform_clips(20, num_clips=3, length=4, stride=2)
    assert three.tolist() == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]
    assert uniform_clips(20, num_clips=1, length=4, stride=2).tolist() == [[6, 8, 10, 12]]
    assert uniform_clips(2, num_clips=2, length=3).tolist() == [[0, 1, 1], [0, 1, 1]]


def test_consecutive_clips_worked_by_hand() -> None:
    clips = consecutive_clips(40, length=16)  # 8 frames are left over
    assert clips.tolist() == [list(range(16)), list(range(16, 32))]
    assert consecutive_clips(3, length=5).tolist() == [[0, 1, 2, 2, 2]]


@MANY
@given(FRAMES, COUNT, COUNT, st.integers(1, 9), SEED)
def test_dense_clips_keep_their_stride_until_the_video_ends(
    num_frames: int, num_clips: int, length: int, stride: int, seed: int
) -> None:
    sizes = {"length": length, "stride": stride}
    drawn = random_clip(num_frames, **sizes, seed=seed)
    check_clips(drawn, (length,), num_frames=num_frames)
    uniform = uniform_clips(num_frames, num_clips=num_clips, **sizes)
    check_clips(uniform, (num_clips, length), num_frames=num_frames)
    span = (length - 1) * stride + 1
    for clip in [drawn, *uniform]:
        assert np.array_equal(clip, dense_clip(num_frames, start=int(clip[0]), **sizes))
        if num_frames >= span:
            assert (np.diff(clip) == stride).all()
        else:
            assert clip[0] == 0


@MANY
@given(FRAMES, COUNT, COUNT, st.integers(1, 9))
def test_uniform_clips_are_centred_and_evenly_spaced(
    extra: int, num_clips: int, length: int, stride: int
) -> None:
    num_frames = (length - 1) * stride + extra
    clips = uniform_clips(num_frames, num_clips=num_clips, length=length, stride=stride)
    before, after = clips[0, 0], num_frames - 1 - clips[-1, -1]
    if num_clips == 1:
        assert after - before in (0, 1)
    else:
        assert (before, after) == (0, 0)
        gaps = np.diff(clips[:, 0])
        assert gaps.max() - gaps.min() <= 1


@MANY
@given(FRAMES, COUNT)
def test_consecutive_clips_meet_without_overlap(num_frames: int, length: int) -> None:
    clips = consecutive_clips(num_frames, length=length)
    check_clips(clips, (max(1, num_frames // length), length), num_frames=num_frames)
    if num_frames >= length:
        assert clips.ravel().tolist() == list(range(num_frames // length * length))


def test_random_clips_start_wherever_a_whole_clip_fits() -> None:
    # T=10, L=3, stride 2: a clip spans 5 frames, so that starts are 0 to 5.
    starts = {int(random_clip(10, length=3, stride=2, seed=seed)[0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3, 4, 5}


def test_draws_depend_on_the_seed_alone() -> None:
    draws: list[Callable[..., NDArray[np.int64]]] = [
        partial(random_segments, 1000, num_segments=8),
        partial(random_clip, 10**6, length=8),
    ]
    before = str(np.random.get_state())
    for draw in draws:
        assert np.array_equal(draw(seed=7), draw(seed=7))
        assert not np.array_equal(draw(seed=7), draw(seed=8))
    assert str(np.random.get_state()) == before


# Crops


def test_three_crops_worked_by_hand() -> None:
    # 340 - 256 = 84: left at 0, 42 and 84; upright, top.
    assert three_crop(256, 340, size=256).tolist() == [[0, 0], [0, 42], [0, 84]]
    assert three_crop(340, 256, size=256).tolist() == [[0, 0], [42, 0], [84, 0]]
    # 256 - 224 = 32: centred at 16 on the shorter side; 340 - 224 = 116 on the longer one.
    assert three_crop(256, 340, size=224).tolist() == [[16, 0], [16, 58], [16, 116]]
    assert three_crop(224, 224, size=224).tolist() == [[0, 0]] * 3


@MANY
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_crops_lie_in_the_picture_and_the_centre_is_torchvisions(
    height: int, width: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, min(height, width)))
    picture = torch.arange(height * width).reshape(1, height, width)
    crops = three_crop(height, width, size=size)
    assert crops.dtype == np.int64 and crops.shape == (3, 2)
    assert (crops >= 0).all() and (crops + size <= [height, width]).all()
    longer = 0 if height > width else 1
    assert crops[0, longer] == 0 and crops[2, longer] + size == max(height, width)
    top, left = center_crop(height, width, size=size)
    assert crops[1].tolist() == [top, left]
    crop = picture[:, top : top + size, left : left + size]
    assert torch.equal(crop, functional.center_crop(picture, [size, size]))


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(random_segments, 0, num_segments=3, seed=0), "num_frames=0: must be 1 or more"),
        (partial(random_segments, 9, num_segments=0, seed=0), "num_segments=0: must be 1"),
        (partial(random_segments, 9, num_segments=3, seed=-1), "seed=-1: must be from 0"),
        (partial(center_segments, 9, num_segments=3, length=0), "length=0: must be 1 or more"),
        (partial(first_frames, 9, max_length=-2), "max_length=-2: must be 1 or more"),
        (partial(stepped_frames, 9, count=0), "count=0: must be 1 or more"),
        (partial(dense_clip, 9, start=0, length=4, stride=0), "stride=0: must be 1 or more"),
        (partial(dense_clip, 9, start=9, length=4), "start=9: must be a frame, from 0 to 8"),
        (partial(dense_clip, 9, start=-1, length=4), "start=-1: must be a frame, from 0 to 8"),
        (partial(random_clip, 9, length=4, seed=-1), "seed=-1: must be from 0"),
        (partial(random_clip, 9, length=0, seed=0), "length=0: must be 1 or more"),
        (partial(uniform_clips, 9, num_clips=0, length=4), "num_clips=0: must be 1 or more"),
        (partial(consecutive_clips, 0, length=4), "num_frames=0: must be 1 or more"),
        (partial(center_crop, 240, 320, size=0), "size=0: must be from 1 to 240"),
        (
            partial(three_crop, 320, 240, size=256),
            "size=256: must be from 1 to 240, the shorter side of a 320 x 240 picture",
        ),
    ],
)
def test_wrong_requests_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
