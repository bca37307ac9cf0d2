"""`blip`: an image with its BLIP caption; `blip-text`: the caption alone; `blip-image`: the image.

BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and
Generation, 2022, as transformers has it (image-captioning-base, 768-d). As in FLAMeST (Federated
Multimodal Fusion for Action Recognition, section 3) one of a clip's keyframes, drawn uniformly, is
captioned; image and caption then go through the text model's cross-attention, and the last layer's
vector at [CLS] is the embedding. `blip-text` has no cross-attention; `blip-image` is the vector of
the image encoder at [CLS], without a caption.

The text model runs bidirectionally for the embedding: under the causal mask that generates
captions, the first position cannot see the caption. Captions are generated greedily.

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

from kinestore.extractors._base import ExtractorOptions, PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from kinestore.extractors._runner import Runner, rows
from kinestore.extractors._single_frame import prepare_single_frame, single_frame_settings
from kinestore.extractors._transformers import build_on_meta
from kinestore.extractors.weights.sources import (
    HubRepository,
    WeightFiles,
    WeightSource,
    find_weights,
)
from kinestore.extractors.weights.state_dict import StateDict, load_into, read_state_dict
from kinestore.store import Embedding, UsageError, ViewSpec

NAMES = ("blip", "blip-image", "blip-text")
CODE_VERSION = 1
_WIDTH = 768
MAX_CAPTION_TOKENS = 20
"""Longest caption that is generated."""

_MAX_WORD_PIECES = 32
"""Longest caption that is encoded, where words may be split otherwise than when generated."""

_CAPTION = {"decoding": "greedy", "max_tokens": MAX_CAPTION_TOKENS}
_TEXT_POSITION = "[CLS], last layer, bidirectional"
_VOCABULARY = "vocab.txt"
_SOURCE = HubRepository(
    repository="Salesforce/blip-image-captioning-base", companions=(_VOCABULARY,)
)
BLIP_PREPROCESSING = Preprocessing(
    resize=(384, 384), interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD
)

WORD_EMBEDDINGS = "text_decoder.bert.embeddings.word_embeddings.weight"
TIED = {
    "text_decoder.cls.predictions.decoder.weight": WORD_EMBEDDINGS,
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
"""Tied tensors of the published network, and the name that every file has."""

_Vector = NDArray[np.float32]


class BlipExtractor:
    """One vector a clip, float32, shape (768,), with the caption that it was made from, if any.

    Args:
        name: One of `NAMES`.
        files: Weights and vocabulary.
        runner: Runs the network.
        frame_choice: Keyframes by default; one of them is drawn at random.
    """

    def __init__(
        self, name: str, *, files: WeightFiles, runner: Runner, frame_choice: FrameChoice
    ) -> None:
        self._frame_choice = frame_choice.by_default("keyframes")
        hashes = files.settings()
        key = (str(runner.device), runner.dtype_name, *hashes.values())
        if (captioner := _LOADED.get(key)) is None:
            _LOADED[key] = captioner = Captioner(
                files.weights, files.companions[_VOCABULARY], runner
            )
        self._captioner = captioner
        self._embed, position = {
            "blip": (self._captioner.multimodal, _TEXT_POSITION),
            "blip-text": (self._captioner.text, _TEXT_POSITION),
            "blip-image": (self._captioner.image, "[CLS], last layer of the image encoder"),
        }[name]
        self.spec = ViewSpec(
            extractor=name,
            shape=(_WIDTH,),
            settings={
                "code": CODE_VERSION,
                **hashes,
                "sampling": single_frame_settings(self._frame_choice),
                "preprocessing": BLIP_PREPROCESSING.settings(),
                **({} if name == "blip-image" else {"caption": _CAPTION}),
                "position": position,
                "compute_dtype": self._captioner.runner.dtype_name,
            },
        )

    @property
    def batch(self) -> int:
        """Number of clips in a forward pass."""
        return self._captioner.runner.batch

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Return one preprocessed frame: shape (3, 384, 384)."""
        return prepare_single_frame(clip, self._frame_choice, BLIP_PREPROCESSING)

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Return the vector and the caption of each clip."""
        found = self._captioner.runner(self._embed, [clip.pixels for clip in batch])
        return [
            Embedding(
                vector=vector, frame_index=clip.frame_index, pts_s=clip.pts_s, caption=caption
            )
            for clip, (vector, caption) in zip(batch, found, strict=True)
        ]


class Captioner:
    """The network and its vocabulary, loaded once for both extractors.

    The last result is cached: `blip-text` needs the captions that `blip` has just generated.

    Attributes:
        network: `BlipForConditionalGeneration`.
        runner: Runs it.
    """

    def __init__(self, weights: Path, vocabulary: Path, runner: Runner) -> None:
        self.runner = runner
        self.network: Any = self.runner.place(load(weights))
        self._tokenizer = read_vocabulary(vocabulary)
        self._last: tuple[Tensor, Tensor, list[str]] | None = None

    def multimodal(self, pixels_BCHW: Tensor) -> list[tuple[_Vector, str | None]]:
        """Return [CLS] of image and caption through cross-attention, and the caption."""
        patches, captions = self.caption(pixels_BCHW)
        return list(zip(rows(self.encode(captions, patches)), captions, strict=True))

    def text(self, pixels_BCHW: Tensor) -> list[tuple[_Vector, str | None]]:
        """Return [CLS] of the caption alone, and the caption."""
        _, captions = self.caption(pixels_BCHW)
        return list(zip(rows(self.encode(captions, None)), captions, strict=True))

    def image(self, pixels_BCHW: Tensor) -> list[tuple[_Vector, str | None]]:
        """Return [CLS] of the image, and no caption."""
        return [(vector, None) for vector in rows(self._patches(pixels_BCHW)[:, 0])]

    def caption(self, pixels_BCHW: Tensor) -> tuple[Tensor, list[str]]:
        """Return the image's patches, shape (B, P, D), and captions."""
        if self._last is not None and torch.equal(self._last[0], pixels_BCHW):
            return self._last[1:]
        patches = self._patches(pixels_BCHW)
        captions = self._write(patches)
        self._last = pixels_BCHW, patches, captions
        return patches, captions

    def _patches(self, pixels_BCHW: Tensor) -> Tensor:
        pixels = BLIP_PREPROCESSING.normalize(pixels_BCHW)
        patches: Tensor = self.network.vision_model(pixels).last_hidden_state
        return patches

    def encode(self, captions: Sequence[str], patches_BPD: Tensor | None) -> Tensor:
        """Return the text model's last layer at [CLS], bidirectional: shape (B, 768)."""
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
        """Generate captions greedily; a batch ends with its longest caption."""
        text = self.network.config.text_config
        begin = torch.full((len(patches_BPD), 1), text.bos_token_id, device=patches_BPD.device)
        written_BL = self.network.text_decoder.generate(
            input_ids=begin,
            encoder_hidden_states=patches_BPD,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            max_new_tokens=MAX_CAPTION_TOKENS,
            do_sample=False,
            num_beams=1,
        )
        ids = [[i for i in row if i < text.bos_token_id] for row in written_BL[:, 1:].tolist()]
        captions: list[str] = self._tokenizer.decode_batch(ids, skip_special_tokens=True)
        return captions


_LOADED: WeakValueDictionary[tuple[str, ...], Captioner] = WeakValueDictionary()
"""Captioners by device and hashes: `blip` and `blip-text` share one while either exists."""


def architecture() -> nn.Module:
    """Return the captioning network of transformers, without weights."""
    transformers = library("transformers")
    # Twelve heads as published; the library's default of eight is wrong for every published
    # file: https://github.com/huggingface/transformers/issues/22625
    config = transformers.BlipConfig(
        text_config={"num_attention_heads": 12}, vision_config={"image_size": 384}
    )
    network: nn.Module = build_on_meta(transformers.BlipForConditionalGeneration, config)
    return network


def load(weights: Path) -> nn.Module:
    """Return the captioning network with a file's weights, frozen.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    network: Any = architecture()
    state = read_state_dict(weights)
    load_into(network, state, weights, rename=_published_keys)
    head, words = network.text_decoder.cls.predictions, network.text_decoder.bert.embeddings
    if torch.equal(head.decoder.weight, words.word_embeddings.weight):
        head.decoder.weight = words.word_embeddings.weight
    if torch.equal(head.decoder.bias, head.bias):
        head.decoder.bias = head.bias
    frozen: nn.Module = network.eval().requires_grad_(False)
    return frozen


def _published_keys(state: StateDict, expected: StateDict) -> StateDict:
    """Complete tied tensors, which files hold once or twice, and drop position numbers."""
    kept = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
    tied = {key: state[source] for key, source in TIED.items() if source in state}
    return {**tied, **kept}


def read_vocabulary(path: Path) -> Any:
    """Return a BERT tokenizer for batches.

    Args:
        path: A file with one word piece a line.

    Raises:
        UsageError: If it is not a vocabulary.
    """
    from tokenizers import BertWordPieceTokenizer

    try:
        tokenizer = BertWordPieceTokenizer.from_file(str(path), lowercase=True)
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"vocabulary {path}: cannot be read ({error})") from error
    tokenizer.enable_padding(length=_MAX_WORD_PIECES)  # the same in every batch
    tokenizer.enable_truncation(_MAX_WORD_PIECES)
    return tokenizer


def source(name: str) -> WeightSource:
    """Return the default source of the weights."""
    return _SOURCE


def build(name: str, options: ExtractorOptions) -> BlipExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    files = find_weights(name, _SOURCE, options.weights)
    return BlipExtractor(
        name, files=files, runner=Runner.of(options), frame_choice=options.frame_choice
    )
