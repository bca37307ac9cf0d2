"""Networks that look at a whole clip and give one vector.

Shape legend: B batch, T frames, C channels, H height, W width, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.extractors._base import Options, Prepared
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.extractors._preprocessing import Pictures
from kinestore.extractors._runner import Runner, rows
from kinestore.extractors.weights.sources import Files, Source, find
from kinestore.extractors.weights.state_dict import StateDict, fill, read_state_dict
from kinestore.store import Embedding, UsageError, ViewSpec


def as_they_are(state: StateDict, expected: StateDict) -> StateDict:
    """The renaming that renames nothing."""
    return state


@dataclass(frozen=True, kw_only=True)
class VideoNetwork:
    """A library's network and how its publisher feeds it.

    Attributes:
        build: Makes the library's own network with a number of classes.
        classifier: Name of the tensor whose rows are the classes: how many there are depends on
            what a file's network was trained on last.
        features: Runs the network up to the vector before the classifier: from normalised clips,
            float32, shape (B, C, T, H, W), to shape (B, D).
        width: D.
        num_frames: T.
        pictures: How frames are shrunk and scaled.
        source: Where the weights come from by default.
        code_version: Goes up whenever the same weights would give another vector.
        cpu_batch: Clips in a forward pass on a CPU: more than one only where that is faster, since
            a clip alone then pays for company that it has not.
        rename: From other layouts of keys, as `extractors._weights.fill` takes it.
    """

    build: Callable[[int], nn.Module]
    classifier: str
    features: Callable[[Any, Tensor], Tensor]
    width: int
    num_frames: int
    pictures: Pictures
    source: Source
    code_version: int = 1
    cpu_batch: int = 1
    rename: Callable[[StateDict, StateDict], StateDict] = as_they_are

    def load(self, weights: Path) -> nn.Module:
        """The network with a file's weights, frozen.

        Raises:
            UsageError: If a key is missing, left over, or of another shape.
        """
        state = read_state_dict(weights)
        if self.classifier not in state:
            raise UsageError(f"weights {weights}: do not fit the network (no {self.classifier})")
        network = self.build(len(state[self.classifier]))
        fill(network, state, weights, rename=self.rename)
        return network.eval().requires_grad_(False)


class VideoExtractor:
    """One vector a clip: float32, shape (D,).

    Args:
        name: The extractor.
        network: What runs.
        files: Its weights.
        runner: Where it runs.
        frames: Keyframes by default.
    """

    def __init__(
        self, name: str, network: VideoNetwork, *, files: Files, runner: Runner, frames: FrameChoice
    ) -> None:
        self._network = network
        self._frames = frames.by_default("keyframes")
        self._runner = runner
        self._model = self._runner.place(network.load(files.weights))
        self.spec = ViewSpec(
            extractor=name,
            shape=(network.width,),
            settings={
                "code": network.code_version,
                **files.settings(),
                "sampling": self._frames.settings(network.num_frames),
                "preprocessing": network.pictures.settings(),
                "compute_dtype": self._runner.dtype_name,
            },
        )

    @property
    def batch(self) -> int:
        """Clips in a forward pass."""
        return self._runner.batch

    def prepare(self, clip: ClipFrames) -> Prepared:
        """The frames, shrunk, in time order: shape (T, 3, H, W)."""
        indices = self._frames.indices(clip, self._network.num_frames)
        return Prepared(
            clip_id=clip.clip_id,
            pixels=shrink_each_once(clip, indices, self._network.pictures),
            frame_index=indices,
            pts_s=clip.pts_s[indices],
        )

    def embed(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """The vector of each clip."""
        vectors = self._runner(self._forward, [clip.pixels for clip in batch])
        return [
            Embedding(vector=vector, frame_index=clip.frame_index, pts_s=clip.pts_s)
            for clip, vector in zip(batch, vectors, strict=True)
        ]

    def _forward(self, pixels_BTCHW: Tensor) -> list[NDArray[np.float32]]:
        clips_BCTHW = self._network.pictures.normalise(pixels_BTCHW).transpose(1, 2)
        return rows(self._network.features(self._model, clips_BCTHW))


def shrink_each_once(
    clip: ClipFrames, indices: NDArray[np.int64], pictures: Pictures
) -> NDArray[np.uint8]:
    """Frames, shrunk, where some may be asked for again and again: shape (N, 3, H, W)."""
    distinct, place = np.unique(indices, return_inverse=True)
    return pictures.shrink(clip.rgb(distinct))[place]


def create_video(name: str, network: VideoNetwork, options: Options) -> VideoExtractor:
    """Make an extractor, its weights found, loaded and frozen.

    Raises:
        UsageError: If the weights or the device do not fit.
        KinestoreError: If there are no weights here and none can be fetched.
    """
    files = find(name, network.source, options.weights)
    return VideoExtractor(
        name,
        network,
        files=files,
        runner=Runner.of(options, cpu_batch=network.cpu_batch),
        frames=options.frames,
    )
