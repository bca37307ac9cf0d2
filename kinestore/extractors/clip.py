"""`clip`: CLIP's embedding of a picture; `clip-text`: that of the prompt that fits it best.

Learning Transferable Visual Models From Natural Language Supervision, 2021, as transformers has it
(ViT-B/32, 512-d). As in FLAMeST (Federated Multimodal Fusion for Action Recognition, section 5.3)
one of a clip's keyframes, drawn uniformly, is embedded, and out of static prompts, one a class, the
nearest is retrieved. Vectors have length 1, as CLIP compares them.

Done differently: the paper names ViT-L/14, but its 1024 values (512 of the image, 512 of the text)
and its count of parameters are those of ViT-B/32.

Shape legend: B batch, C channels, H height, W width, N prompts, L tokens, D features.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinestore.extractors._base import ExtractorOptions, PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from kinestore.extractors._runner import Runner
from kinestore.extractors._single_frame import prepare_single_frame, single_frame_settings
from kinestore.extractors._transformers import build_on_meta
from kinestore.extractors.weights.sources import (
    HubRepository,
    WeightFiles,
    WeightSource,
    find_weights,
)
from kinestore.extractors.weights.state_dict import StateDict, load_frozen
from kinestore.store import Embedding, UsageError, ViewSpec

NAMES = ("clip", "clip-text")
CODE_VERSION = 1
_WIDTH = 512
_MAX_PROMPT_TOKENS = 77
"""Longer prompts are truncated."""

_VOCABULARY, _MERGES = "vocab.json", "merges.txt"
_SOURCE = HubRepository(
    repository="openai/clip-vit-base-patch32", companions=(_VOCABULARY, _MERGES)
)
CLIP_PREPROCESSING = Preprocessing(
    resize=224, crop=224, interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD
)


class ClipExtractor:
    """Vector of the picture, or of the nearest prompt: float32, shape (512,).

    Args:
        name: One of `NAMES`.
        files: Weights and, for `clip-text`, vocabulary.
        runner: Runs the network.
        frame_choice: Keyframes by default; one of them is drawn at random.
        prompts: Texts that `clip-text` chooses from.
    """

    def __init__(
        self,
        name: str,
        *,
        files: WeightFiles,
        runner: Runner,
        frame_choice: FrameChoice,
        prompts: Sequence[str] = (),
    ) -> None:
        self._frame_choice = frame_choice.by_default("keyframes")
        self._runner = runner
        self._network: Any = self._runner.place(load(files.weights))
        self._prompts: list[str] = []
        chosen = {}
        if name == "clip-text":
            self._prompts = list(prompts)
            self._prompts_ND = self._encode(files)
            chosen = {"prompts": self._prompts}
        self.spec = ViewSpec(
            extractor=name,
            shape=(_WIDTH,),
            settings={
                "code": CODE_VERSION,
                **files.settings(),
                "sampling": single_frame_settings(self._frame_choice),
                "preprocessing": CLIP_PREPROCESSING.settings(),
                "compute_dtype": self._runner.dtype_name,
                **chosen,
            },
        )

    @property
    def batch(self) -> int:
        """Number of clips in a forward pass."""
        return self._runner.batch

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Return one preprocessed frame: shape (3, 224, 224)."""
        return prepare_single_frame(clip, self._frame_choice, CLIP_PREPROCESSING)

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Return the vector of each clip, and the prompt that it is of."""
        found = self._runner(self._forward, [clip.pixels for clip in batch])
        return [
            Embedding(
                vector=vector.numpy(),
                frame_index=clip.frame_index,
                pts_s=clip.pts_s,
                caption=prompt,
            )
            for clip, (vector, prompt) in zip(batch, found, strict=True)
        ]

    def _forward(self, pixels_BCHW: Tensor) -> list[tuple[Tensor, str | None]]:
        pooled = self._network.vision_model(CLIP_PREPROCESSING.normalize(pixels_BCHW)).pooler_output
        images_BD = _unit_length(self._network.visual_projection(pooled))
        if not self._prompts:
            return [(vector, None) for vector in images_BD.cpu()]
        nearest = (images_BD @ self._prompts_ND.T).argmax(1)
        vectors_BD = self._prompts_ND[nearest].cpu()
        captions = [self._prompts[at] for at in nearest.tolist()]
        return list(zip(vectors_BD, captions, strict=True))

    def _encode(self, files: WeightFiles) -> Tensor:
        """All prompts, once: shape (N, 512)."""
        if not self._prompts:
            raise UsageError(
                "clip-text: has no prompts to choose among; give the clips labels, or name a file "
                "with --prompts"
            )
        tokenizer = read_vocabulary(files.companions[_VOCABULARY], files.companions[_MERGES])
        tokens = tokenizer(
            self._prompts,
            padding=True,
            truncation=True,
            max_length=_MAX_PROMPT_TOKENS,
            return_tensors="pt",
        ).to(self._runner.device)
        with torch.inference_mode(), self._runner.arithmetic():
            pooled = self._network.text_model(**tokens).pooler_output
            return _unit_length(self._network.text_projection(pooled))


def architecture() -> nn.Module:
    """Return both towers of transformers, without weights; the library's default is ViT-B/32."""
    transformers = library("transformers")
    network: nn.Module = build_on_meta(transformers.CLIPModel, transformers.CLIPConfig())
    return network


def load(weights: Path) -> nn.Module:
    """Return both towers with a file's weights, frozen.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    return load_frozen(architecture(), weights, rename=_without_positions)


def _unit_length(vectors: Tensor) -> Tensor:
    """Divide each row by its length, float32."""
    return nn.functional.normalize(vectors.float(), dim=-1)


def read_vocabulary(vocabulary: Path, merges: Path) -> Any:
    """Return a CLIP tokenizer.

    Args:
        vocabulary: A JSON object from token to number.
        merges: A pair of tokens a line, after a line that begins with #version.

    Raises:
        UsageError: If a file has another form, or another number for the end of a text.
    """
    transformers = library("transformers")
    try:
        tokens = json.loads(vocabulary.read_text(encoding="utf-8"))
        lines = merges.read_text(encoding="utf-8").splitlines()
        pairs: Any = [tuple(line.split()) for line in lines if line and line[:8] != "#version"]
        tokenizer = transformers.CLIPTokenizer(vocab=tokens, merges=pairs)
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"vocabulary {vocabulary}: cannot be read ({error})") from error
    config = transformers.CLIPConfig().text_config
    if tokenizer.eos_token_id != config.eos_token_id:
        raise UsageError(
            f"vocabulary {vocabulary}: numbers the end of a text {tokenizer.eos_token_id}, "
            f"not {config.eos_token_id}; take that of {_SOURCE}"
        )
    return tokenizer


def _without_positions(state: StateDict, expected: StateDict) -> StateDict:
    """Older files hold position numbers, which are no weights."""
    return {key: value for key, value in state.items() if not key.endswith(".position_ids")}


def source(name: str) -> WeightSource:
    """Return the default source of the weights; pictures alone need no vocabulary."""
    return _SOURCE if name == "clip-text" else HubRepository(repository=_SOURCE.repository)


def build(name: str, options: ExtractorOptions) -> ClipExtractor:
    """Make the extractor; raises as `extractors.create` does."""
    return ClipExtractor(
        name,
        files=find_weights(name, source(name), options.weights),
        runner=Runner.of(options),
        frame_choice=options.frame_choice,
        prompts=options.prompts,
    )
