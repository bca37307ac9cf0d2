from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestore.extractors._frame_selection import SPACES
from kinestore.pipeline.previews.contact_sheet import contact_sheet
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.keyframes import choose_keyframes, select_keyframes
from kinestore.store import UsageError
from tests.helpers.numbered import make_video


@pytest.mark.parametrize("space", SPACES)
def test_planted_shots_give_one_keyframe_each(space: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = [5, 20, 9, 14]
    shots = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in lengths]
    pictures = [shot for shot, length in zip(shots, lengths, strict=True) for _ in range(length)]
    video = DecodedVideo(make_video(tmp_path / "v.mp4", pictures=pictures))
    chosen = choose_keyframes(video, num_keyframes=4, seed=0, space=space)
    assert np.searchsorted(np.cumsum(lengths), chosen, side="right").tolist() == [0, 1, 2, 3]


def test_nearest_member_of_each_cluster_worked_by_hand() -> None:
    # Two clusters on a line: {0, 1, 5} has its centre at 2, nearest 1; {100, 101, 106} at
    # 102.33, nearest 101. In time order the frames stand at 4 and 1.
    features = np.array([[0], [101], [100], [106], [1], [5]], np.float32)
    assert select_keyframes(features, num_keyframes=2, seed=0).tolist() == [1, 4]


def test_a_tie_goes_to_the_earlier_frame() -> None:
    features = np.array([[-1, 0], [1, 0], [0, 9], [0, 9.5]], np.float32)
    chosen = select_keyframes(features, num_keyframes=2, seed=3)
    assert chosen.tolist() == [0, 2]  # both members of each cluster are equally near its centre


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[7.0]], [0, 0, 0, 0]),  # one frame
        ([[7.0]] * 9, [0, 0, 0, 0]),  # nine times the same frame
        ([[1.0], [2.0]], [0, 0, 1, 1]),  # fewer frames than clusters
        ([[2.0], [2.0], [1.0], [1.0]], [0, 0, 2, 2]),  # fewer distinct ones
    ],
)
def test_too_few_distinct_frames_repeat_evenly(
    rows: list[list[float]], expected: list[int]
) -> None:
    features = np.array(rows, np.float32)
    assert select_keyframes(features, num_keyframes=4, seed=0).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 40))
def test_distinct_frames_give_distinct_increasing_keyframes(
    seed: int, num_keyframes: int, extra: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.random((num_keyframes + extra, 5), dtype=np.float32)
    chosen = select_keyframes(features, num_keyframes=num_keyframes, seed=seed)
    assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < len(features)
    assert len(chosen) == num_keyframes
    again = select_keyframes(features, num_keyframes=num_keyframes, seed=seed)
    assert np.array_equal(chosen, again)


def test_wrong_requests_are_named() -> None:
    features = np.ones((3, 2), np.float32)
    with pytest.raises(UsageError, match="num_keyframes=0: must be 1 or more"):
        select_keyframes(features, num_keyframes=0, seed=0)
    with pytest.raises(UsageError, match=r"shape \(0, 2\)"):
        select_keyframes(features[:0], num_keyframes=1, seed=0)
    with pytest.raises(UsageError, match="not finite"):
        select_keyframes(features * np.nan, num_keyframes=1, seed=0)


def test_contact_sheet_shows_the_frames_that_it_names(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 20)
    out = tmp_path / "sheet.png"
    chosen = contact_sheet(video, out=out, num_keyframes=5)
    assert out.read_bytes().startswith(b"\x89PNG") and len(set(chosen)) == 5
    assert contact_sheet(video, out=out, num_keyframes=5) == chosen
    with pytest.raises(UsageError, match=r"sheet\.bmp: the suffix must be one of \.png"):
        contact_sheet(video, out=tmp_path / "sheet.bmp")
