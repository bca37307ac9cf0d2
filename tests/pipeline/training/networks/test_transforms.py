"""What a net sees of a clip: cuts, mirror images and their classes, colours."""

from collections import Counter

import numpy as np
import pytest
import torch

from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.pipeline.training.networks.data.transforms import (
    Crop,
    augmentation_seed,
    choose_size,
    crop,
    draw_crop,
    evaluation_crops,
    normalize,
    read_flip_pairs,
)
from kinestore.store import UsageError
from tests.helpers.tiny_networks import examples, noise

CPU = torch.device("cpu")


def test_a_cut_of_its_own_size_is_a_slice_of_every_frame() -> None:
    frames = torch.arange(2 * 6 * 8 * 3, dtype=torch.uint8).reshape(2, 6, 8, 3)
    how = Crop(top=1, left=3, height=4, width=4, flip=False)
    wanted = frames[:, 1:5, 3:7].permute(0, 3, 1, 2)
    assert torch.equal(crop(frames, how, size=4), wanted)
    mirrored = Crop(top=1, left=3, height=4, width=4, flip=True)
    assert torch.equal(crop(frames, mirrored, size=4), wanted.flip(-1))


def test_a_cut_twice_as_large_is_averaged_down() -> None:
    # a board of black and white squares of a pixel: a triangle of 4 pixels weighs both the same
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 255
    frames = board.to(torch.uint8)[None, :, :, None].expand(1, 16, 16, 3)
    how = Crop(top=0, left=0, height=16, width=16, flip=False)
    inside = crop(frames, how, size=8)[..., 1:-1, 1:-1]
    assert (inside.int() - 127).abs().max() <= 1  # antialiased; picked pixels would be 0 or 255


@pytest.mark.parametrize("seed", range(5))
def test_all_frames_are_cut_alike(seed: int) -> None:
    frames = torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (3, 40, 52, 3), np.uint8)
    )
    how = draw_crop(40, 52, size=32, seed=seed)
    together = crop(frames, how, size=32)
    apart = torch.cat([crop(frame[None], how, size=32) for frame in frames])
    assert torch.equal(together, apart)


def test_cuts_are_those_of_the_papers_recipe() -> None:
    drawn = [draw_crop(256, 340, size=224, seed=seed) for seed in range(3000)]
    sides = (256, 224, 192, 168)
    near = {(a, b) for i, a in enumerate(sides) for b in sides[max(0, i - 1) : i + 2]}
    assert {(some.height, some.width) for some in drawn} == near
    # 13 places: in quarters of the room, corners, middles and the places between
    small = [some for some in drawn if (some.height, some.width) == (168, 168)]
    places = {(some.top, some.left) for some in small}
    room = [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4), (4, 0), (4, 2), (4, 4)]
    room += [(1, 1), (1, 3), (3, 1), (3, 3)]
    assert places == {(22 * down, 43 * right) for down, right in room}
    # 3,000 tosses: 5 standard deviations are 137
    assert abs(Counter(some.flip for some in drawn)[True] - 1500) < 137


def test_a_side_within_two_pixels_of_the_nets_is_the_nets() -> None:
    # 0.875 x 258 = 225.75 and 0.66 x 258 = 170.28: 225 becomes 224, 170 stays
    heights = {draw_crop(258, 258, size=224, seed=seed).height for seed in range(300)}
    assert heights == {258, 224, 193, 170}


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3), (17, 200)])
def test_cuts_stay_inside_small_frames(shape: tuple[int, int]) -> None:
    for seed in range(100):
        how = draw_crop(*shape, size=min(shape), seed=seed)
        assert how.height >= 1 and how.top >= 0 and how.top + how.height <= shape[0]
        assert how.width >= 1 and how.left >= 0 and how.left + how.width <= shape[1]


def test_seed_epoch_and_clip_decide_alone() -> None:
    given = examples(noise(12))
    again = examples(noise(12), num_workers=1)

    def seen(
        which: ClipSamples, rows: list[int], epoch: int, seed: int = 0
    ) -> dict[int, torch.Tensor]:
        shown = which.epoch(np.array(rows), number=epoch, seed=seed)
        # passes of five and of the rest: the company differs with the order
        batches = shown.inputs([range(5), range(5, len(rows))], CPU)
        return dict(zip(rows, torch.cat(list(batches)), strict=True))

    forwards = seen(given, list(range(12)), 3)
    backwards = seen(again, list(range(12))[::-1], 3)
    assert all(torch.equal(forwards[row], backwards[row]) for row in range(12))
    later = seen(given, list(range(12)), 4)
    assert not all(torch.equal(forwards[row], later[row]) for row in range(12))
    other = seen(given, list(range(12)), 3, seed=1)
    assert not all(torch.equal(forwards[row], other[row]) for row in range(12))
    seeds = {
        augmentation_seed(purpose, seed, epoch=epoch, clip_id=clip)
        for purpose in ("cut", "frames")
        for seed in (0, 1)
        for epoch in (0, 1)
        for clip in ("a", "b")
    }
    assert len(seeds) == 16


def test_a_mirrored_clip_is_of_the_other_class() -> None:
    source = noise(60)
    mirrored = read_flip_pairs(["left,right"], ["left", "right", "up"])
    given = examples(source, flipped_class=mirrored, size=12)
    flips = 0
    for row in range(60):
        drawn = given.augment(row, epoch=1, seed=0)
        assert isinstance(drawn.crop, Crop)
        wanted = {0: 1, 1: 0, 2: 2}[row % 3] if drawn.crop.flip else row % 3
        assert drawn.label == wanted
        flips += drawn.crop.flip
    assert 15 < flips < 45
    plain = examples(source)
    labels = plain.epoch(np.arange(60), number=1, seed=0).labels
    assert labels.tolist() == [row % 3 for row in range(60)]


def test_colours_are_normalised_as_imagenet_has_them() -> None:
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(1, 3, 1, 1)
    # (0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225
    wanted = torch.tensor([-2.1179039, 2.4285714, -0.9155556]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(normalize(pixels), wanted)
    assert normalize(pixels).dtype == torch.float32


def test_test_views_are_the_centre_or_both_ends_too() -> None:
    across = torch.arange(10, dtype=torch.uint8).expand(2, 6, 10)[..., None].expand(2, 6, 10, 3)
    (centre,) = evaluation_crops(across, size=4, num_crops=1)
    assert centre.shape == (2, 3, 4, 4) and centre[0, 0, 0].tolist() == [3, 4, 5, 6]
    left, middle, right = evaluation_crops(across, size=4, num_crops=3)
    assert left[1, 2, 3].tolist() == [0, 1, 2, 3] and right[0, 0, 0].tolist() == [6, 7, 8, 9]
    assert torch.equal(middle, centre)


def test_segments_and_looks_reach_the_net_in_order() -> None:
    source = noise(3, shape=(4, 12, 12, 3))
    source.num_segments, source.length = 2, 2
    given = examples(source, in_segments=True)
    flat = examples(source)
    one = np.array([1])
    (pictures,) = given.epoch(one, number=1, seed=0).inputs([[0]], CPU)
    (frames,) = flat.epoch(one, number=1, seed=0).inputs([[0]], CPU)
    assert pictures.shape == (1, 2, 2, 3, 10, 10)
    assert torch.equal(pictures.flatten(1, 2), frames)


def test_sizes() -> None:
    assert choose_size(None, (256, 340)) == 224
    assert choose_size(None, (128, 171)) == 112
    assert choose_size(100, (128, 171)) == 100
    with pytest.raises(UsageError, match="size=129: must be from 1 to 128, the shorter side"):
        choose_size(129, (128, 171))


def test_flip_pairs_may_name_classes_with_commas() -> None:
    classes = ["a, to the left", "a, to the right", "b"]
    assert read_flip_pairs(["a, to the left,a, to the right"], classes).tolist() == [1, 0, 2]
    assert read_flip_pairs([], classes).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["left,up"], "flip_pair='left,up': must be two classes, as A,B, of down, left, right"),
        (["left"], "flip_pair='left': must be two classes"),
        (["left,left"], "flip_pair='left,left': must be two classes"),
        (["left,right", "right,down"], "flip_pair='right,down': has a class of another pair"),
    ],
)
def test_flip_pairs_that_are_none(pairs: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_flip_pairs(pairs, ["down", "left", "right"])
