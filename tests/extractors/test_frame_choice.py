"""Which frames an extractor sees, and what its view says of that."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestore import extractors
from kinestore.extractors import FrameChoice
from kinestore.extractors._frame_selection import clip_seed, draw_index
from kinestore.extractors._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinestore.extractors._single_frame import prepare_single_frame, single_frame_settings
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.keyframes import choose_keyframes
from kinestore.store import UsageError
from tests.helpers.networks import noise_clip
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT

SMALL = Preprocessing(
    resize=8, crop=8, interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", 40)


def test_keyframes_are_chosen_once_and_shared(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = DecodedVideo(video)
    asked: dict[str, Any] = {"num_keyframes": 8, "space": "luma"}
    expected = choose_keyframes(decoded, **asked, seed=clip_seed(decoded.clip_id, 3))
    calls = []

    def counting(*arguments: Any, **named: Any) -> Any:
        calls.append(named)
        return expected

    monkeypatch.setattr("kinestore.pipeline.video.keyframes.choose_keyframes", counting)
    for _ in range(3):
        assert np.array_equal(decoded.keyframes(**asked, seed=3), expected)
    assert len(calls) == 1
    decoded.keyframes(**asked, seed=4)
    assert len(calls) == 2


def test_networks_that_take_more_frames_see_each_keyframe_as_often() -> None:
    choice = FrameChoice(kind="keyframes", num_keyframes=8)
    clip = noise_clip(0, num_frames=8)
    assert choice.indices(clip, 8).tolist() == list(range(8))
    assert choice.indices(clip, 16).tolist() == [at // 2 for at in range(16)]
    assert set(choice.indices(clip, 32).tolist()) == set(range(8))


def test_uniform_frames_reach_from_the_first_to_the_last() -> None:
    choice = FrameChoice(kind="uniform")
    assert choice.indices(noise_clip(0, num_frames=31), 16).tolist() == list(range(0, 31, 2))


def test_every_setting_that_changes_the_frames_changes_the_view() -> None:
    choices = [
        FrameChoice(kind="keyframes"),
        FrameChoice(kind="keyframes", num_keyframes=4),
        FrameChoice(kind="keyframes", space="cnn"),
        FrameChoice(kind="keyframes", seed=1),
        FrameChoice(kind="uniform"),
    ]
    assert len({str(choice.settings(8)) for choice in choices}) == 5
    assert FrameChoice(kind="uniform", seed=5).settings(8) == choices[-1].settings(8)
    drawn = [single_frame_settings(FrameChoice(kind="uniform", seed=seed)) for seed in (0, 1)]
    assert drawn[0] != drawn[1]  # evenly spaced frames are drawn from by seed


def test_an_image_network_keeps_ten_even_frames_unless_asked_otherwise() -> None:
    name = "cnn-efficientnet-lite0"
    default = extractors.create(name).spec
    assert default.shape == (10, 1280)
    assert default.settings["sampling"] == {"kind": "evenly-spaced", "frames": 10}
    assert (
        extractors.create(name, frame_choice=FrameChoice(num_keyframes=4, seed=9)).spec == default
    )
    for num_frames in (4, 20):
        choice = FrameChoice(kind="keyframes", num_keyframes=num_frames)
        made = extractors.create(name, frame_choice=choice)
        assert made.spec.shape == (num_frames, 1280)
        found = extractors.embed_clip(made, noise_clip(0, num_frames=30))
        assert found.vector.shape == (num_frames, 1280)
        assert found.frame_index.tolist() == sorted(found.frame_index)


def test_motion_compares_neighbours_and_takes_no_keyframes() -> None:
    uniform = extractors.create("motion", frame_choice=FrameChoice(kind="uniform"))
    assert uniform.spec == extractors.create("motion").spec
    with pytest.raises(UsageError, match="sampling='keyframes': motion compares adjacent"):
        extractors.create("motion", frame_choice=FrameChoice(kind="keyframes"))


def test_the_drawn_frame_depends_on_the_bytes_and_the_seed_alone(
    video: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "another name.mp4"
    copy.write_bytes(video.read_bytes())

    def drawn(path: Path, seed: int) -> int:
        choice = FrameChoice(kind="keyframes", seed=seed)
        return int(prepare_single_frame(DecodedVideo(path), choice, SMALL).frame_index[0])

    assert [drawn(video, seed) for seed in range(5)] == [drawn(copy, seed) for seed in range(5)]
    assert len({drawn(video, seed) for seed in range(8)}) > 1


def test_each_of_eight_frames_is_drawn_as_often() -> None:
    counts = Counter(draw_index(f"{clip:032x}", count=8, seed=0) for clip in range(8000))
    # 1000 each, binomial with a deviation of 30: five of them.
    assert set(counts) == set(range(8)) and max(abs(n - 1000) for n in counts.values()) < 150


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "random"}, "sampling='random': must be keyframes or uniform"),
        ({"num_keyframes": 0}, "num_keyframes=0: must be 1 or more"),
        ({"space": "rgb"}, "space='rgb': must be luma or cnn"),
        ({"seed": -1}, "seed=-1: must be 0 or more"),
    ],
)
def test_wrong_choices_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FrameChoice(**settings)


def test_a_mistake_at_the_command_line_is_one_sentence(video: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kinestore", "extract", str(video)]
    command += ["--store", str(tmp_path / "s"), "-e", "motion"]
    for option, sentence in (
        (["--sampling", "random"], "sampling='random': must be keyframes or uniform"),
        (["--keyframe-space", "rgb"], "space='rgb': must be luma or cnn"),
        (["--weights", "absent.pth"], "motion has no weights"),
    ):
        root = ROOT
        ran = subprocess.run([*command, *option], cwd=root, capture_output=True, text=True)
        assert ran.returncode == 2 and sentence in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_pictures_keep_their_shape_or_are_squeezed() -> None:
    """100 x 50 with a short side of 8: 16 x 8, of which 8 x 8 in the middle stay."""
    picture = np.zeros((1, 50, 100, 3), np.uint8)
    picture[:, :, 25:75] = 200
    assert (SMALL.resize_and_crop(picture) == 200).mean() > 0.7
    squeezed = Preprocessing(
        resize=(8, 8), interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
    ).resize_and_crop(picture)
    assert squeezed.shape == (1, 3, 8, 8) and (squeezed == 0).any()
    assert (
        "crop"
        not in Preprocessing(
            resize=(8, 8), interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
        ).settings()
    )
