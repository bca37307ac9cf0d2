"""`blip`: an image together with the caption that BLIP gives it; `blip-text`: the caption alone.

BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and
Generation, 2022, as transformers has it (image-captioning-base, 768-d). As in FLAMeST (Federated
Multimodal Fusion for Action Recognition, section 3) one of a clip's keyframes, drawn uniformly, is
captioned; image and caption then go through the text model's cross-attention, and the last layer's
vector at [CLS] is kept. `blip-text` leaves the cross-attention out.

The text model runs bidirectionally for the embedding: under the causal mask that captions are
written with, the first position cannot see the caption. Captions are written greedily.

Shape legend: B batch, C channels, H height, W width, P patches, L tokens, D features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.extractors._base import Options, Prepared
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import CLIP_MEAN, CLIP_STD, Pictures
from kinestore.extractors._runner import Runner, rows
from kinestore.extractors._single_frame import prepare_one, sampling_settings
from kinestore.extractors._transformers import build
from kinestore.extractors.weights.sources import Files, HubRepository, Source, find
from kinestore.extractors.weights.state_dict import StateDict, fill, read_state_dict
from kinestore.store import Embedding, UsageError, ViewSpec

NAMES = ("blip", "blip-text")
CODE_VERSION = 1
WIDTH = 768
MAX_TOKENS = 20
"""Of a caption, at most."""

MOST_PIECES = 32
"""Of a caption that is read again, which may cut words otherwise than it was written."""

VOCABULARY = "vocab.txt"
SOURCE = HubRepository(repository="Salesforce/blip-image-captioning-base", companions=(VOCABULARY,))
PICTURES = Pictures(resize=(384, 384), interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD)

WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"
TIED = {
    "text_decoder.cls.predictions.decoder.weight": WORDS,
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
"""Tensors that are one in the published network, and the name that a file surely has."""

Vector = NDArray[np.float32]


class Blip:
    """One vector a clip, float32, shape (768,), and the caption that went into it.

    Args:
        name: One of `NAMES`.
        files: Weights and vocabulary.
        runner: Where it runs.
        frames: Keyframes by default; one of them is drawn.
    """

    def __init__(self, name: str, *, files: Files, runner: Runner, frames: FrameChoice) -> None:
        self._frames = frames.by_default("keyframes")
        hashes = files.settings()
        key = (str(runner.device), runner.dtype_name, *hashes.values())
        if (captioner := _LOADED.get(key)) is None:
            _LOADED[key] = captioner = Captioner(
                files.weights, files.companions[VOCABULARY], runner
            )
        self._captioner = captioner
        self._embed = self._captioner.multimodal if name == "blip" else self._captioner.text
        self.spec = ViewSpec(
            extractor=name,
            shape=(WIDTH,),
            settings={
                "code": CODE_VERSION,
                **hashes,
                "sampling": sampling_settings(self._frames),
                "preprocessing": PICTURES.settings(),
                "caption": {"decoding": "greedy", "max_tokens": MAX_TOKENS},
                "position": "[CLS], last layer, bidirectional",
                "compute_dtype": self._captioner.runner.dtype_name,
            },
        )

    @property
    def batch(self) -> int:
        """Clips in a forward pass."""
        return self._captioner.runner.batch

    def prepare(self, clip: ClipFrames) -> Prepared:
        """The one frame, shrunk: shape (3, 384, 384)."""
        return prepare_one(clip, self._frames, PICTURES)

    def embed(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """The vector and the caption of each clip."""
        found = self._captioner.runner(self._embed, [clip.pixels for clip in batch])
        return [
            Embedding(
                vector=vector, frame_index=clip.frame_index, pts_s=clip.pts_s, caption=caption
            )
            for clip, (vector, caption) in zip(batch, found, strict=True)
        ]


class Captioner:
    """The network and its vocabulary, loaded once for both extractors.

    What was seen last is remembered: `blip-text` asks for the captions that `blip` just had.

    Attributes:
        network: `BlipForConditionalGeneration`.
        runner: Where it runs.
    """

    def __init__(self, weights: Path, vocabulary: Path, runner: Runner) -> None:
        self.runner = runner
        self.network: Any = self.runner.place(load(weights))
        self._tokenizer = read_vocabulary(vocabulary)
        self._last: tuple[Tensor, Tensor, list[str]] | None = None

    def multimodal(self, pixels_BCHW: Tensor) -> list[tuple[Vector, str]]:
        """Image and caption through cross-attention, [CLS]; and the caption."""
        patches, captions = self.see(pixels_BCHW)
        return list(zip(rows(self.encode(captions, patches)), captions, strict=True))

    def text(self, pixels_BCHW: Tensor) -> list[tuple[Vector, str]]:
        """The caption alone, [CLS]; and the caption."""
        _, captions = self.see(pixels_BCHW)
        return list(zip(rows(self.encode(captions, None)), captions, strict=True))

    def see(self, pixels_BCHW: Tensor) -> tuple[Tensor, list[str]]:
        """The image's patches, shape (B, P, D), and captions."""
        if self._last is not None and torch.equal(self._last[0], pixels_BCHW):
            return self._last[1:]
        patches = self.network.vision_model(PICTURES.normalise(pixels_BCHW)).last_hidden_state
        captions = self._write(patches)
        self._last = pixels_BCHW, patches, captions
        return patches, captions

    def encode(self, captions: Sequence[str], patches_BPD: Tensor | None) -> Tensor:
        """The text model's last layer at [CLS], seeing the whole caption: shape (B, 768)."""
        encoded = self._tokenizer.encode_batch(list(captions))
        device = self.runner.device
        hidden = self.network.text_decoder.bert(
            input_ids=torch.tensor([one.ids for one in encoded], device=device),
            attention_mask=torch.tensor([one.attention_mask for one in encoded], device=device),
            encoder_hidden_states=patches_BPD,
            is_decoder=False,
        ).last_hidden_state
        first: Tensor = hidden[:, 0]
        return first

    def _write(self, patches_BPD: Tensor) -> list[str]:
        """Greedy captions; a sentence that has ended waits for the longest of its batch."""
        text = self.network.config.text_config
        begin = torch.full((len(patches_BPD), 1), text.bos_token_id, device=patches_BPD.device)
        written_BL = self.network.text_decoder.generate(
            input_ids=begin,
            encoder_hidden_states=patches_BPD,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            num_beams=1,
        )
        ids = [[i for i in row if i < text.bos_token_id] for row in written_BL[:, 1:].tolist()]
        captions: list[str] = self._tokenizer.decode_batch(ids, skip_special_tokens=True)
        return captions


_LOADED: WeakValueDictionary[tuple[str, ...], Captioner] = WeakValueDictionary()
"""By device and hashes: `blip` and `blip-text` share one while either lives."""


def architecture() -> nn.Module:
    """The captioning network of transformers, without weights."""
    transformers = library("transformers")
    # Twelve heads as published; the library's default of eight is a mistake for every file there
    # is: https://github.com/huggingface/transformers/issues/22625
    config = transformers.BlipConfig(
        text_config={"num_attention_heads": 12}, vision_config={"image_size": 384}
    )
    network: nn.Module = build(transformers.BlipForConditionalGeneration, config)
    return network


def load(weights: Path) -> nn.Module:
    """The captioning network with a file's weights, frozen.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    network: Any = architecture()
    state = read_state_dict(weights)
    fill(network, state, weights, rename=_published_keys)
    head, words = network.text_decoder.cls.predictions, network.text_decoder.bert.embeddings
    if torch.equal(head.decoder.weight, words.word_embeddings.weight):
        head.decoder.weight = words.word_embeddings.weight
    if torch.equal(head.decoder.bias, head.bias):
        head.decoder.bias = head.bias
    frozen: nn.Module = network.eval().requires_grad_(False)
    return frozen


def _published_keys(state: StateDict, expected: StateDict) -> StateDict:
    """Files may hold tied tensors once or twice, and position numbers, which are no weights."""
    kept = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
    tied = {key: state[source] for key, source in TIED.items() if source in state}
    return {**tied, **kept}


def read_vocabulary(path: Path) -> Any:
    """A tokenizer of BERT's kind, for batches.

    Args:
        path: A word piece a line.

    Raises:
        UsageError: If it is not a vocabulary.
    """
    from tokenizers import BertWordPieceTokenizer

    try:
        tokenizer = BertWordPieceTokenizer.from_file(str(path), lowercase=True)
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"vocabulary {path}: cannot be read ({error})") from error
    tokenizer.enable_padding(length=MOST_PIECES)  # whatever its company
    tokenizer.enable_truncation(MOST_PIECES)
    return tokenizer


def source(name: str) -> Source:
    """Where the weights come from by default."""
    return SOURCE


def create(name: str, options: Options) -> Blip:
    """Make the extractor; see `extractors.create` for what is raised."""
    files = find(name, SOURCE, options.weights)
    return Blip(name, files=files, runner=Runner.of(options), frames=options.frames)
