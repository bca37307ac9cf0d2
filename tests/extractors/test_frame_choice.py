"""Which frames an extractor sees, and what its view says of that."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinestore import extractors
from kinestore.extractors import FrameChoice, r3d, slow
from kinestore.extractors._frame_selection import clip_seed, draw_index
from kinestore.extractors._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinestore.extractors._single_frame import prepare_single_frame, single_frame_settings
from kinestore.pipeline.extraction.extractor_settings import read_extractor
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.keyframes import choose_keyframes
from kinestore.store import UsageError
from tests.helpers.networks import noise_clip, randomise
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
        ({"kind": "middle"}, "sampling='middle': must be keyframes, uniform, step:4, first:40"),
        ({"kind": "step:0"}, "sampling='step:0': its numbers must be 1 or more"),
        ({"kind": "first:11of10"}, "sampling='first:11of10': takes 11 of 10 frames"),
        ({"kind": "pieces:1025"}, "sampling='pieces:1025': must be 1024 or less"),
        ({"frames": 0}, "frames=0: must be from 1 to 1024"),
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
        (["--sampling", "middle"], "sampling='middle': must be keyframes, uniform, step:4"),
        (["-e", "r3d:frames"], "extractor 'r3d:frames': 'frames' must be SETTING=VALUE"),
        (["-e", "motion:sampling=step:4"], "sampling='step:4': motion compares adjacent frames"),
        (["-e", "motion:crop=square"], "crop='square': motion has one way to crop"),
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


# Numbers of the frames of T = 100: step = max(1, 100 // 3) = 33, times 33 - 1 = 32; rows
# i * floor(100 / 10) = 0, 10, ..., 90.
@pytest.mark.parametrize(
    ("kind", "num_frames", "wanted"),
    [
        ("step:4", 100, [0, 32, 64, 96]),
        ("step:4", 5, [0, 0, 0, 0]),
        ("step:1", 100, [0]),
        ("first:4", 100, [0, 1, 2, 3]),
        ("first:10of100", 100, list(range(0, 100, 10))),
        ("first:2of100", 100, [0, 50]),
        ("first:2of40", 30, [0, 20]),
        ("first:3of10", 4, [0, 3, 3]),
    ],
)
def test_frames_are_those_of_the_paper(kind: str, num_frames: int, wanted: list[int]) -> None:
    clip = noise_clip(0, num_frames=num_frames, size=(16, 16))
    assert FrameChoice(kind=kind).indices(clip, len(wanted)).tolist() == wanted


def test_only_the_first_frames_leave_steps_without_a_frame() -> None:
    clip = noise_clip(0, num_frames=4, size=(16, 16))
    mask = FrameChoice(kind="first:3of10").masked_indices(clip, 3)[1]
    assert mask.tolist() == [True, True, False]
    for kind in ("step:3", "uniform", "random:3x9"):
        assert FrameChoice(kind=kind).masked_indices(clip, 3)[1].all()


def test_a_random_clip_depends_on_the_clip_and_the_seed_alone() -> None:
    clips = [noise_clip(seed, num_frames=60, size=(16, 16)) for seed in range(12)]
    choices = [FrameChoice(kind="random:4x3", seed=seed) for seed in (0, 0, 1)]
    drawn = [[choice.indices(clip, 4).tolist() for clip in clips] for choice in choices]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(np.diff(frames).tolist() == [3, 3, 3] for frames in drawn[0])
    assert len({frames[0] for frames in drawn[0]}) > 5


def test_pieces_do_not_overlap_and_have_a_mask() -> None:
    choice = FrameChoice(kind="pieces:3")
    frames, mask = choice.pieces(noise_clip(0, num_frames=9, size=(16, 16)), 4)
    assert frames[mask].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]  # the ninth frame is no piece
    assert mask.tolist() == [True, True, False]
    # Five pieces of which three are wanted: 5 * 1 // 6, 5 * 3 // 6, 5 * 5 // 6
    many, all_there = choice.pieces(noise_clip(0, num_frames=20, size=(16, 16)), 4)
    assert many[:, 0].tolist() == [0, 8, 16] and all_there.all()


def test_masked_steps_of_an_image_network_are_zero() -> None:
    made = extractors.create(
        "cnn-efficientnet-lite0", frame_choice=FrameChoice(kind="first:4of8"), device="cpu"
    )
    found = extractors.embed_clip(made, noise_clip(0, num_frames=5, size=(64, 64)))
    assert made.spec.masked and made.spec.shape == (4, 1280)
    assert found.mask is not None and found.mask.tolist() == [True, True, True, False]
    assert found.frame_index.tolist() == [0, 2, 4]
    assert found.vector[:3].any(1).all() and not found.vector[3].any()


def test_views_as_they_were_keep_their_fingerprints() -> None:
    keyframes = {"num_keyframes": 8, "space": "luma", "seed": 0}
    wanted = {"kind": "keyframes", **keyframes, "frames": 16}
    assert FrameChoice(kind="keyframes", num_keyframes=8).settings(16) == wanted
    assert r3d.NETWORK.frames_for(FrameChoice(num_keyframes=8), name="r3d") == 16
    made = extractors.create("cnn-efficientnet-lite0", device="cpu").spec
    assert made.name == "cnn-efficientnet-lite0@3c5dca9054973cf7"


def test_networks_take_their_own_number_of_keyframes() -> None:
    numbers = {
        name: extractors.module_of(name).NETWORK.num_keyframes
        for name in ("slow", "slowfast", "i3d", "r3d", "videomae")
    }
    assert numbers == {"slow": 8, "slowfast": 8, "i3d": 8, "r3d": 3, "videomae": 16}
    assert r3d.NETWORK.frames_for(FrameChoice(), name="r3d") == 3
    assert r3d.NETWORK.frames_for(FrameChoice(kind="uniform"), name="r3d") == 16
    with pytest.raises(UsageError, match="frames=3: slow takes 8 frames; leave it out"):
        slow.NETWORK.frames_for(FrameChoice(frames=3), name="slow")


def test_r3d_runs_on_three_frames_and_on_pieces(tmp_path: Path) -> None:
    torch.save(randomise(r3d.NETWORK.build(4)).state_dict(), tmp_path / "w.pth")
    options: dict[str, Any] = {"weights": tmp_path / "w.pth", "device": "cpu"}
    three = extractors.create("r3d", **options)
    clip = noise_clip(0, num_frames=9)
    assert three.prepare(clip).pixels.shape == (3, 3, 112, 112)
    assert extractors.embed_clip(three, clip).vector.shape == (512,)
    choice = FrameChoice(kind="pieces:3", frames=4)
    found = extractors.embed_clip(extractors.create("r3d", **options, frame_choice=choice), clip)
    assert found.vector.shape == (3, 512) and not found.vector[2].any()
    alone = extractors.create("r3d", **options, frame_choice=FrameChoice(kind="first:4", frames=4))
    wanted = extractors.embed_clip(alone, clip).vector
    np.testing.assert_allclose(found.vector[0], wanted, rtol=1e-4, atol=1e-5)  # other batches


def test_the_center_square_is_cropped_before_it_is_resized() -> None:
    """7 x 12: a side of 7, from 7 // 2 - 7 // 2 = 0 down and 12 // 2 - 7 // 2 = 3 across."""
    picture = np.arange(84, dtype=np.uint8).reshape(1, 7, 12, 1).repeat(3, 3)
    whole = Preprocessing(
        resize=(7, 7), interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD, square=True
    )
    seen = whole.resize_and_crop(picture)[0, 0]
    np.testing.assert_array_equal(seen, picture[0, :, 3:10, 0])
    assert whole.settings()["first"] == "center square"
    default = extractors.create("cnn-efficientnet-lite0", device="cpu").spec
    square = extractors.create("cnn-efficientnet-lite0", device="cpu", crop="square").spec
    assert square.fingerprint != default.fingerprint


def test_an_extractor_has_settings_of_its_own() -> None:
    common = FrameChoice(kind="uniform", seed=3)
    found = read_extractor("cnn-densenet201:sampling=first:10of100,crop=square", common)
    assert (found.name, found.crop) == ("cnn-densenet201", "square")
    assert found.frame_choice == FrameChoice(kind="first:10of100", seed=3)
    assert read_extractor("motion", common).frame_choice == common
    for text, message in {
        "r3d:frames=x": "frames cannot be 'x'",
        "r3d:speed=2": "'speed=2' must be SETTING=VALUE, with SETTING one of sampling, keyframes",
        "r3d:frames=3,frames=4": "has frames twice",
        "r3d:keyframes=0": "num_keyframes=0: must be 1 or more",
    }.items():
        with pytest.raises(UsageError, match=f"extractor '{text}': .*{message}"):
            read_extractor(text, common)
