"""`clip`: what CLIP says of a picture; `clip-text`: what it says of the prompt that fits it best.

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

from kinestore.extractors._base import Options, Prepared
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._optional_import import library
from kinestore.extractors._preprocessing import CLIP_MEAN, CLIP_STD, Pictures
from kinestore.extractors._runner import Runner
from kinestore.extractors._single_frame import prepare_one, sampling_settings
from kinestore.extractors._transformers import build
from kinestore.extractors.weights.sources import Files, HubRepository, Source, find
from kinestore.extractors.weights.state_dict import StateDict, load_frozen
from kinestore.store import Embedding, UsageError, ViewSpec

NAMES = ("clip", "clip-text")
CODE_VERSION = 1
WIDTH = 512
MAX_TOKENS = 77
"""Of a prompt; what is longer is cut off."""

VOCABULARY, MERGES = "vocab.json", "merges.txt"
SOURCE = HubRepository(repository="openai/clip-vit-base-patch32", companions=(VOCABULARY, MERGES))
PICTURES = Pictures(resize=224, crop=224, interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD)


class Clip:
    """The picture's vector, or that of the prompt nearest to it: float32, shape (512,).

    Args:
        name: One of `NAMES`.
        files: Weights and, for `clip-text`, vocabulary.
        runner: Where it runs.
        frames: Keyframes by default; one of them is drawn.
        prompts: What `clip-text` chooses among.
    """

    def __init__(
        self,
        name: str,
        *,
        files: Files,
        runner: Runner,
        frames: FrameChoice,
        prompts: Sequence[str] = (),
    ) -> None:
        self._frames = frames.by_default("keyframes")
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
            shape=(WIDTH,),
            settings={
                "code": CODE_VERSION,
                **files.settings(),
                "sampling": sampling_settings(self._frames),
                "preprocessing": PICTURES.settings(),
                "compute_dtype": self._runner.dtype_name,
                **chosen,
            },
        )

    @property
    def batch(self) -> int:
        """Clips in a forward pass."""
        return self._runner.batch

    def prepare(self, clip: ClipFrames) -> Prepared:
        """The one frame, shrunk: shape (3, 224, 224)."""
        return prepare_one(clip, self._frames, PICTURES)

    def embed(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """The vector of each clip, and the prompt that it stands for."""
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
        pooled = self._network.vision_model(PICTURES.normalise(pixels_BCHW)).pooler_output
        images_BD = of_length_one(self._network.visual_projection(pooled))
        if not self._prompts:
            return [(vector, None) for vector in images_BD.cpu()]
        nearest = (images_BD @ self._prompts_ND.T).argmax(1)
        vectors_BD = self._prompts_ND[nearest].cpu()
        captions = [self._prompts[at] for at in nearest.tolist()]
        return list(zip(vectors_BD, captions, strict=True))

    def _encode(self, files: Files) -> Tensor:
        """All prompts, once: shape (N, 512)."""
        if not self._prompts:
            raise UsageError(
                "clip-text: has no prompts to choose among; give the clips labels, or name a file "
                "with --prompts"
            )
        tokenizer = read_vocabulary(files.companions[VOCABULARY], files.companions[MERGES])
        tokens = tokenizer(
            self._prompts,
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        ).to(self._runner.device)
        with torch.inference_mode(), self._runner.arithmetic():
            pooled = self._network.text_model(**tokens).pooler_output
            return of_length_one(self._network.text_projection(pooled))


def architecture() -> nn.Module:
    """Both towers of transformers, without weights; the library's default is ViT-B/32."""
    transformers = library("transformers")
    network: nn.Module = build(transformers.CLIPModel, transformers.CLIPConfig())
    return network


def load(weights: Path) -> nn.Module:
    """Both towers with a file's weights, frozen.

    Raises:
        UsageError: If a key is missing, left over, or of another shape.
    """
    return load_frozen(architecture(), weights, rename=_without_positions)


def of_length_one(vectors: Tensor) -> Tensor:
    """Each row divided by its length, float32."""
    return nn.functional.normalize(vectors.float(), dim=-1)


def read_vocabulary(vocabulary: Path, merges: Path) -> Any:
    """A tokenizer of CLIP's kind.

    Args:
        vocabulary: A JSON object from token to number.
        merges: A pair of tokens a line, after a line that begins with #version.

    Raises:
        UsageError: If they are not that, or number the end of a text otherwise than CLIP does.
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
            f"not {config.eos_token_id}; take that of {SOURCE}"
        )
    return tokenizer


def _without_positions(state: StateDict, expected: StateDict) -> StateDict:
    """Older files hold position numbers, which are no weights."""
    return {key: value for key, value in state.items() if not key.endswith(".position_ids")}


def source(name: str) -> Source:
    """Where the weights come from by default; pictures alone need no vocabulary."""
    return SOURCE if name == "clip-text" else HubRepository(repository=SOURCE.repository)


def create(name: str, options: Options) -> Clip:
    """Make the extractor; see `extractors.create` for what is raised."""
    return Clip(
        name,
        files=find(name, source(name), options.weights),
        runner=Runner.of(options),
        frames=options.frames,
        prompts=options.prompts,
    )
