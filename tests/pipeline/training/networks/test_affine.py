"""Augmentation by one affine map for all frames of a clip."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import kinestore as ks
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.training.networks.data.affine import Affine, apply_affine, draw_affine
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.pipeline.training.networks.data.transforms import Crop, evaluation_crops
from kinestore.pipeline.training.train import open_data
from kinestore.store import Store, UsageError
from tests.helpers.filmed import coloured_store
from tests.helpers.tiny_networks import examples, noise

NOTHING = Affine(degrees=0, down=0, right=0, tall=1, wide=1)


def picture(height: int, width: int, seed: int = 0, *, num_frames: int = 2) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (num_frames, height, width, 3), np.uint8))


@pytest.mark.parametrize(("height", "width", "size"), [(12, 12, 12), (13, 20, 10), (16, 15, 9)])
def test_no_change_is_the_center_crop(height: int, width: int, size: int) -> None:
    frames = picture(height, width)
    assert torch.equal(
        apply_affine(frames, NOTHING, size=size),
        evaluation_crops(frames, size=size, num_crops=1)[0],
    )


def mapped(frame: np.ndarray, where: Affine, row: int, column: int) -> np.ndarray:
    """Return a pixel by Keras' arithmetic: rotation, shift and zoom about the center, bilinear."""
    size = len(frame)
    angle, middle = math.radians(where.degrees), (size - 1) / 2
    down, right = (row - middle) * where.tall, (column - middle) * where.wide
    down, right = down + where.down * size, right + where.right * size
    y = math.cos(angle) * down - math.sin(angle) * right + middle
    x = math.sin(angle) * down + math.cos(angle) * right + middle
    y, x = (min(max(place, 0), size - 1) for place in (y, x))
    top, left = min(int(y), size - 2), min(int(x), size - 2)
    below, beside = y - top, x - left
    upper = frame[top, left] * (1 - beside) + frame[top, left + 1] * beside
    lower = frame[top + 1, left] * (1 - beside) + frame[top + 1, left + 1] * beside
    found: np.ndarray = upper * (1 - below) + lower * below
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_pixel_is_where_keras_has_it(seed: int) -> None:
    frames, where = picture(11, 11, seed), draw_affine(seed)
    found = apply_affine(frames, where, size=11).numpy().astype(float)
    for row in range(11):
        for column in range(11):
            wanted = mapped(frames[0].numpy().astype(float), where, row, column)
            # float32 places and the rounding to whole numbers
            np.testing.assert_allclose(found[0, :, row, column], wanted, atol=0.51)


def test_all_frames_of_a_clip_are_mapped_alike() -> None:
    still = picture(12, 12, num_frames=1).expand(4, -1, -1, -1)
    shown = apply_affine(still, draw_affine(3), size=10)
    assert all(torch.equal(frame, shown[0]) for frame in shown)


def test_draws_stay_in_their_ranges_and_never_mirror() -> None:
    drawn = [draw_affine(seed) for seed in range(3000)]
    for name, low, high in (
        ("degrees", -8, 8),
        ("down", -0.2, 0.2),
        ("right", -0.2, 0.2),
        ("tall", 0.9, 1.1),
        ("wide", 0.9, 1.1),
    ):
        values = [getattr(one, name) for one in drawn]
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
    for one in drawn:
        matrix = one.matrix()
        assert torch.linalg.det(matrix) > 0.8  # a mirror image has a negative one
        assert matrix[0, 0] > 0 and matrix[1, 1] > 0


def test_edges_are_repeated() -> None:
    frames = picture(10, 10, num_frames=1)
    shifted = apply_affine(frames, Affine(degrees=0, down=0, right=0.2, tall=1, wide=1), size=10)
    pixels = frames.permute(0, 3, 1, 2)
    assert torch.equal(shifted[..., :8], pixels[..., 2:])
    assert torch.equal(shifted[..., 8:], pixels[..., -1:].expand(-1, -1, -1, 2))


def test_a_clip_has_another_map_in_each_epoch_and_the_same_one_in_any_company() -> None:
    source = noise(6)
    samples = examples(source, affine=True, flipped_class=np.array([1, 0, 2]))
    first = samples.augment(2, epoch=1, seed=5)
    assert isinstance(first.crop, Affine) and first.label == 2
    assert first == samples.subset(np.array([2])).augment(0, epoch=1, seed=5)
    assert first.crop != samples.augment(2, epoch=2, seed=5).crop
    order = np.arange(6)
    shown = samples.epoch(order, number=1, seed=5)
    (batch,) = shown.inputs([range(6)], torch.device("cpu"))
    again = samples.epoch(order[::-1].copy(), number=1, seed=5)
    (turned,) = again.inputs([range(6)], torch.device("cpu"))
    assert torch.equal(batch, turned.flip(0))
    assert shown.labels.tolist() == samples.labels.tolist()  # never the class of a mirror image


def test_samples_of_another_augmentation_have_another_identity() -> None:
    source = noise(3)
    assert examples(source).identity() != examples(source, affine=True).identity()


def test_wrong_augmentations_are_refused(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    with pytest.raises(UsageError, match="augmentation='flip': must be crop or affine"):
        ks.FrameClips(store=store, augmentation="flip")
    with pytest.raises(UsageError, match="flip_pair='a,b': augmentation='affine' never flips"):
        ks.FrameClips(store=store, augmentation="affine", flip_pairs=["a,b"])


def test_a_network_is_trained_on_the_augmentation_that_is_asked_for(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=6)
    taken = {}
    for name in ("crop", "affine"):
        data = ks.FrameClips(store=store, size=36, augmentation=name)
        clips = open_data(
            data,
            head="differential:layers=1-1-1-1,width=16,strides=",
            training=ks.NETWORK_TRAINING,
            seed=0,
            processes=ONE_PROCESS,
        )
        (samples,) = clips.prepare([np.arange(6)]).clients
        assert isinstance(samples, ClipSamples)
        taken[name] = [type(samples.augment(row, epoch=1, seed=0).crop) for row in range(6)]
    assert taken == {"crop": [Crop] * 6, "affine": [Affine] * 6}
