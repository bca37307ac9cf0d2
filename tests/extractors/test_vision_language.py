"""BLIP and CLIP in their true size with random weights: images, captions and prompts."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kinestore import extractors
from kinestore.extractors import _runner, blip, clip
from kinestore.extractors._preprocessing import CLIP_MEAN, CLIP_STD
from kinestore.extractors.blip import TIED, BlipExtractor, Captioner
from kinestore.store import UsageError
from tests.helpers.networks import (
    cosine,
    count_parameters,
    half_precision,
    in_bfloat16,
    noise_clip,
    randomise,
    relative_error,
    write_bert_vocabulary,
    write_clip_vocabulary,
)


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights as the hub keeps them: tied tensors once, and a vocabulary beside them."""
    folder = tmp_path_factory.mktemp("blip")
    network = randomise(blip.architecture())
    state = {key: value for key, value in network.state_dict().items() if key not in TIED}
    save_file(state, folder / "model.safetensors")
    write_bert_vocabulary(folder)
    del network, state
    gc.collect()
    yield folder
    (folder / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def multimodal(blip_folder: Path) -> BlipExtractor:
    made = extractors.create("blip", weights=blip_folder, device="cpu")
    assert isinstance(made, BlipExtractor)
    return made


@pytest.fixture(scope="module")
def captioner(multimodal: BlipExtractor) -> Captioner:
    return multimodal._captioner


def test_blip_as_loaded_has_the_published_size_and_twelve_heads(captioner: Captioner) -> None:
    assert count_parameters(captioner.network) == 223_971_644
    words = captioner.network.state_dict()[blip.WORD_EMBEDDINGS].numel()
    assert 223_971_644 + words == 247_414_076  # as FLAMeST counts it, the head untied
    attention = captioner.network.text_decoder.bert.encoder.layer[0].crossattention.self
    assert attention.num_attention_heads == 12


@pytest.mark.slow
def test_blip_equals_the_library_s_own_steps_and_depends_on_no_neighbour(
    multimodal: BlipExtractor, captioner: Captioner, blip_folder: Path
) -> None:
    """Caption by `generate`, then the text model over `pixel_values`, bidirectionally, [CLS]."""
    batch = [multimodal.prepare(noise_clip(seed)) for seed in (0, 1)]
    alone = [multimodal.embed([one])[0] for one in batch]
    network = captioner.network
    pixels = torch.from_numpy(batch[0].pixels)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    with torch.inference_mode():
        pixel_values = (pixels - mean) / std
        written = network.generate(pixel_values, max_new_tokens=20, do_sample=False)
        words = [token for token in written[0].tolist() if token < 30522 and token not in (0, 102)]
        assert alone[0].caption == " ".join(f"w{word}" for word in words)
        patches = network.vision_model(pixel_values).last_hidden_state
        theirs = network.text_decoder.bert(
            torch.tensor([[101, *words, 102]]), encoder_hidden_states=patches, is_decoder=False
        ).last_hidden_state[0, 0]
    assert relative_error(alone[0].vector, theirs) < 1e-5

    together = multimodal.embed(batch)
    assert [one.caption for one in together] == [one.caption for one in alone]
    vectors = np.stack([one.vector for one in together]), np.stack([one.vector for one in alone])
    assert relative_error(*vectors) < 1e-5

    text = extractors.create("blip-text", weights=blip_folder, device="cpu")
    assert isinstance(text, BlipExtractor) and text._captioner is captioner  # loaded once for both
    assert text.spec.fingerprint != multimodal.spec.fingerprint
    alone_text = text.embed(batch)[0]
    with torch.inference_mode():
        theirs = network.text_decoder.bert(torch.tensor([[101, *words, 102]])).last_hidden_state
    assert alone_text.caption == alone[0].caption
    assert relative_error(alone_text.vector, theirs[0, 0]) < 1e-5

    image = extractors.create("blip-image", weights=blip_folder, device="cpu")
    assert isinstance(image, BlipExtractor) and image._captioner is captioner
    (alone_image,) = image.embed(batch[:1])
    with torch.inference_mode():
        pixels = blip.BLIP_PREPROCESSING.normalize(torch.from_numpy(batch[0].pixels)[None])
        patches = network.vision_model(pixels).last_hidden_state
    assert alone_image.caption is None
    assert relative_error(alone_image.vector, patches[0, 0]) < 1e-5


@torch.inference_mode()
def test_the_blip_vector_changes_with_the_caption_and_with_the_image(
    captioner: Captioner,
) -> None:
    """Under a causal mask the first position cannot see the caption: nothing would change."""
    patches = torch.randn(2, 577, 768, generator=torch.Generator().manual_seed(0))
    one, other = captioner.encode(["w7 w8", "w9 w8"], patches[:1].expand(2, -1, -1))
    assert relative_error(one, other) > 1e-3
    same, changed = captioner.encode(["w7 w8", "w7 w8"], patches)
    assert relative_error(same, changed) > 1e-3
    assert relative_error(one, same) < 1e-5
    shorter = captioner.encode(["w7", "w7 w8"], patches[:1].expand(2, -1, -1))[1]
    assert relative_error(shorter, one) < 1e-5  # padding is not seen

    ids = torch.tensor([[101, 7, 8, 102], [101, 9, 8, 102]])
    causal = captioner.network.text_decoder.bert(
        ids, encoder_hidden_states=patches[:1].expand(2, -1, -1), is_decoder=True
    ).last_hidden_state[:, 0]
    assert relative_error(causal[0], causal[1]) < 1e-6


def test_blip_in_bfloat16_is_the_same_direction(
    captioner: Captioner,
) -> None:
    pixels = torch.from_numpy(noise_clip(0, size=(384, 384)).rgb([0])).permute(0, 3, 1, 2)
    runner = half_precision()

    def encode(batch: torch.Tensor) -> list[Any]:
        patches = captioner.network.vision_model(
            blip.BLIP_PREPROCESSING.normalize(batch)
        ).last_hidden_state
        return _runner.rows(captioner.encode(["w7 w8"], patches))

    exact = captioner.runner(encode, [pixels[0].numpy()])[0]
    assert cosine(runner(encode, [pixels[0].numpy()])[0], exact) > 0.999


@pytest.mark.slow
def test_blip_files_with_tied_tensors_twice_or_untied_load(
    captioner: Captioner, tmp_path: Path
) -> None:
    state = dict(captioner.network.state_dict())
    decoder = "text_decoder.cls.predictions.decoder.weight"
    state["text_decoder.bert.embeddings.position_ids"] = torch.arange(512)[None]
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    assert count_parameters(blip.load(path)) == 223_971_644
    torch.save({**state, decoder: state[decoder] + 1}, path)
    assert count_parameters(blip.load(path)) == 247_414_076
    torch.save({key: v for key, v in state.items() if key != blip.WORD_EMBEDDINGS}, path)
    with pytest.raises(UsageError, match=r"do not fit the network .*Missing key.*word_embeddings"):
        blip.load(path)
    path.unlink()


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights as the hub keeps them, position numbers and all."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    with torch.device("meta"):
        network: nn.Module = CLIPModel(CLIPConfig())
    state = dict(randomise(network).state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(50)[None]
    torch.save(state, folder / "pytorch_model.bin")
    write_clip_vocabulary(folder)
    yield folder
    (folder / "pytorch_model.bin").unlink()


PROMPTS = ("run", "a person on a bike", "ru!")


def test_clip_equals_the_library_s_own_forward(
    clip_folder: Path,
) -> None:
    image = extractors.create("clip", weights=clip_folder / "pytorch_model.bin", device="cpu")
    text = extractors.create("clip-text", weights=clip_folder, prompts=PROMPTS, device="cpu")
    assert isinstance(image, clip.ClipExtractor) and isinstance(text, clip.ClipExtractor)
    network = image._network
    assert count_parameters(network) == 151_277_313
    batch = [image.prepare(noise_clip(seed)) for seed in (0, 1)]
    tokens = clip.read_vocabulary(clip_folder / "vocab.json", clip_folder / "merges.txt")(
        list(PROMPTS), padding=True, return_tensors="pt"
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    pixels = torch.stack([torch.from_numpy(one.pixels) for one in batch]) / 255
    with torch.inference_mode():
        theirs = network(pixel_values=(pixels - mean) / std, **tokens)
    alone = [image.embed([one])[0] for one in batch]
    together = np.stack([found.vector for found in image.embed(batch)])
    assert relative_error(alone[0].vector, theirs.image_embeds[0]) < 1e-5
    assert relative_error(together, np.stack([found.vector for found in alone])) < 1e-5
    assert alone[0].caption is None

    nearest = theirs.logits_per_image.argmax(1).tolist()
    for found, at in zip(text.embed(batch), nearest, strict=True):
        assert found.caption == PROMPTS[at]
        assert relative_error(found.vector, theirs.text_embeds[at]) < 1e-5

    halved = in_bfloat16("clip", weights=clip_folder)
    assert cosine(halved.embed(batch)[0].vector, alone[0].vector) > 0.999


def test_other_prompts_make_another_view_of_clip_text_alone(clip_folder: Path) -> None:
    def view(name: str, prompts: tuple[str, ...]) -> str:
        return extractors.create(name, weights=clip_folder, prompts=prompts).spec.name

    assert view("clip-text", ("a", "b")) != view("clip-text", ("a", "c"))
    assert view("clip", ("a", "b")) == view("clip", ())
    with pytest.raises(UsageError, match="clip-text: has no prompts to choose among"):
        view("clip-text", ())


def test_vocabularies_that_are_none_are_refused(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"vocab.txt: cannot be read"):
        blip.read_vocabulary(tmp_path / "vocab.txt")
    short = tmp_path / "vocab.json"
    short.write_text('{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}')
    none = tmp_path / "merges.txt"
    none.write_text("#version: 0.2\n")
    with pytest.raises(UsageError, match="numbers the end of a text 2, not 49407"):
        clip.read_vocabulary(short, none)
    short.write_text("nothing of the kind")
    with pytest.raises(UsageError, match="cannot be read"):
        clip.read_vocabulary(short, clip_folder / "merges.txt")


@pytest.mark.parametrize("size", [(120, 160), (333, 200), (224, 224)])
def test_pictures_are_shrunk_as_the_library_s_processors_do(size: tuple[int, int]) -> None:
    from transformers import BlipImageProcessor, CLIPImageProcessor, VideoMAEImageProcessor

    from kinestore.extractors import videomae

    frames = noise_clip(3, num_frames=2, size=size).rgb([0, 1])
    published: list[tuple[Any, Any]] = [
        (BlipImageProcessor(do_normalize=False), blip.BLIP_PREPROCESSING),
        (CLIPImageProcessor(do_normalize=False), clip.CLIP_PREPROCESSING),
        (VideoMAEImageProcessor(do_normalize=False), videomae.NETWORK.preprocessing),
    ]
    for processor, pictures in published:
        theirs = processor(list(frames), return_tensors="np")["pixel_values"]
        ours = pictures.resize_and_crop(frames)
        levels = np.abs(theirs.reshape(ours.shape) * 255 - ours)
        assert levels.max() <= 1 and levels.mean() < 0.1  # rounding of another implementation
