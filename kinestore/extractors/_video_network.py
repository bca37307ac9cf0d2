"""Networks that turn a whole clip into one vector.

Shape legend: B batch, T frames, C channels, H height, W width, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.extractors._base import ExtractorOptions, PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import DEFAULT_KEYFRAMES, FrameChoice
from kinestore.extractors._preprocessing import Preprocessing
from kinestore.extractors._runner import Runner, rows
from kinestore.extractors._sampling import MAX_FRAMES
from kinestore.extractors.weights.sources import WeightFiles, WeightSource, find_weights
from kinestore.extractors.weights.state_dict import StateDict, load_into, read_state_dict
from kinestore.store import MASKED, Embedding, UsageError, ViewSpec


def _unchanged(state: StateDict, expected: StateDict) -> StateDict:
    """Rename nothing."""
    return state


@dataclass(frozen=True, kw_only=True)
class VideoNetwork:
    """A library's network and its publisher's preprocessing.

    Attributes:
        build: Makes the library's own network with a number of classes.
        classifier: Name of the tensor whose rows are the classes; their number depends on the
            data that a file's network was trained on last.
        features: Runs the network up to the vector before the classifier: from normalized clips,
            float32, shape (B, C, T, H, W), to shape (B, D).
        width: D.
        num_frames: T.
        preprocessing: Preprocessing of frames.
        source: Default source of the weights.
        code_version: Incremented whenever the same weights would give another vector.
        cpu_batch: Clips in a forward pass on a CPU: more than one only where that is faster, since
            a single clip is then padded to a whole batch.
        rename: Renames tensors of other layouts, as `load_into` takes it.
        num_keyframes: Keyframes of a clip, if no other number is given.
        any_length: Whether it takes any number of frames; it then takes as many as there are
            keyframes by default.
    """

    build: Callable[[int], nn.Module]
    classifier: str
    features: Callable[[Any, Tensor], Tensor]
    width: int
    num_frames: int
    preprocessing: Preprocessing
    source: WeightSource
    code_version: int = 1
    cpu_batch: int = 1
    rename: Callable[[StateDict, StateDict], StateDict] = _unchanged
    num_keyframes: int = DEFAULT_KEYFRAMES
    any_length: bool = False

    def frames_for(self, choice: FrameChoice, *, name: str) -> int:
        """Return T for a choice of frames.

        Raises:
            UsageError: If it names a number of frames that the network does not take.
        """
        if choice.frames is not None:
            if not self.any_length and choice.frames != self.num_frames:
                raise UsageError(
                    f"frames={choice.frames}: {name} takes {self.num_frames} frames; leave it out"
                )
            return choice.frames
        by_default = choice.kind in (None, "keyframes") and choice.num_keyframes is None
        return self.num_keyframes if self.any_length and by_default else self.num_frames

    def load(self, weights: Path) -> nn.Module:
        """Return the network with a file's weights, frozen.

        Raises:
            UsageError: If a key is missing, left over, or of another shape.
        """
        state = read_state_dict(weights)
        if self.classifier not in state:
            raise UsageError(f"weights {weights}: do not fit the network (no {self.classifier})")
        network = self.build(len(state[self.classifier]))
        load_into(network, state, weights, rename=self.rename)
        return network.eval().requires_grad_(False)


class VideoExtractor:
    """One vector for each clip: float32, shape (D,).

    Args:
        name: The extractor.
        network: The network.
        files: Its weights.
        runner: Runs it.
        frame_choice: Keyframes by default.
    """

    def __init__(
        self,
        name: str,
        network: VideoNetwork,
        *,
        files: WeightFiles,
        runner: Runner,
        frame_choice: FrameChoice,
    ) -> None:
        self._network = network
        self._num_frames = network.frames_for(frame_choice, name=name)
        self._frame_choice = frame_choice.by_default(
            "keyframes", num_keyframes=network.num_keyframes
        )
        how = self._frame_choice.sampling
        self._num_pieces = how.count if how.name == "pieces" else None
        if self._num_pieces and self._num_pieces * self._num_frames > MAX_FRAMES:
            raise UsageError(
                f"sampling={frame_choice.kind!r}: {self._num_pieces} pieces of {self._num_frames} "
                f"frames are more than {MAX_FRAMES} frames; take fewer pieces"
            )
        self._runner = runner
        self._model = self._runner.place(network.load(files.weights))
        self.spec = ViewSpec(
            extractor=name,
            shape=(self._num_pieces, network.width) if self._num_pieces else (network.width,),
            settings={
                "code": network.code_version,
                **files.settings(),
                "sampling": self._frame_choice.settings(self._num_frames),
                "preprocessing": network.preprocessing.settings(),
                "compute_dtype": self._runner.dtype_name,
                **(MASKED if self._num_pieces else {}),
            },
        )

    @property
    def batch(self) -> int:
        """Number of clips in a forward pass."""
        return self._runner.batch

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Return the preprocessed frames in time order: (T, 3, H, W), or of P pieces."""
        if self._num_pieces:
            return self._prepare_pieces(clip)
        indices = self._frame_choice.indices(clip, self._num_frames)
        return PreparedClip(
            clip_id=clip.clip_id,
            pixels=_resize_each_once(clip, indices, self._network.preprocessing),
            frame_index=indices,
            pts_s=clip.pts_s[indices],
        )

    def _prepare_pieces(self, clip: ClipFrames) -> PreparedClip:
        indices, mask = self._frame_choice.pieces(clip, self._num_frames)
        pixels = _resize_each_once(clip, indices.ravel(), self._network.preprocessing)
        used = indices[mask].ravel()
        return PreparedClip(
            clip_id=clip.clip_id,
            pixels=pixels.reshape(*indices.shape, *pixels.shape[1:]),
            frame_index=used,
            pts_s=clip.pts_s[used],
            mask=mask,
        )

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Return the vector of each clip."""
        vectors = self._runner(self._forward, [clip.pixels for clip in batch])
        return [clip.embedding(vector) for clip, vector in zip(batch, vectors, strict=True)]

    def _forward(self, pixels: Tensor) -> list[NDArray[np.float32]]:
        """Return a vector for each of (B, T, 3, H, W), or P vectors of (B, P, T, 3, H, W)."""
        pieces_BTCHW = pixels.flatten(0, -5)
        clips_BCTHW = self._network.preprocessing.normalize(pieces_BTCHW).transpose(1, 2)
        vectors = self._network.features(self._model, clips_BCTHW)
        return rows(vectors.reshape(*pixels.shape[:-4], -1))


def _resize_each_once(
    clip: ClipFrames, indices: NDArray[np.int64], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """Preprocess frames, each distinct one once: shape (N, 3, H, W)."""
    distinct, place = np.unique(indices, return_inverse=True)
    return preprocessing.resize_and_crop(clip.rgb(distinct))[place]


def build_video_extractor(
    name: str, network: VideoNetwork, options: ExtractorOptions
) -> VideoExtractor:
    """Make an extractor, with its weights loaded and frozen.

    Raises:
        UsageError: If the weights or the device do not fit.
        KinestoreError: If there are no weights on this machine and none can be downloaded.
    """
    files = find_weights(name, network.source, options.weights)
    return VideoExtractor(
        name,
        network,
        files=files,
        runner=Runner.of(options, cpu_batch=network.cpu_batch),
        frame_choice=options.frame_choice,
    )
