"""Clips with their labels, as batches that a net takes.

Shape legend: B clips, V looks at a clip, T frames, S segments of L frames, K classes.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.training.networks.config import Looks
from kinestore.pipeline.training.networks.data import transforms as augment
from kinestore.pipeline.training.networks.data.clip_source import Source
from kinestore.pipeline.training.networks.data.prefetch import prefetch


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What one epoch shows of one clip.

    Attributes:
        clip_id: Which.
        cut: Where its frames are cut.
        label: Its class, or that of its mirror image.
        seed: Of the frames.
    """

    clip_id: str
    cut: augment.Cut
    label: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Labelled clips.

    Attributes:
        source: Where their frames come from.
        clip_ids: One a row.
        labels: Class of each row, int64, from 0 to K - 1.
        mirrored: The class of a mirrored clip, by that of the clip, int64, shape (K,).
        size: Pixels of a side of what the net sees.
        in_segments: Whether the net takes (B, S, L, 3, H, W), and not (B, T, 3, H, W).
        seed: 0 or more; decides with the epoch and the clip's identity all that is drawn.
        workers: Threads that read clips.
    """

    source: Source
    clip_ids: list[str]
    labels: NDArray[np.int64]
    mirrored: NDArray[np.int64]
    size: int
    in_segments: bool
    seed: int
    workers: int

    def draw(self, row: int, *, epoch: int) -> Drawn:
        """What an epoch shows of a row."""
        clip_id, label = self.clip_ids[row], int(self.labels[row])
        seed, of_the_frames = (
            augment.clip_seed(purpose, self.seed, epoch=epoch, clip_id=clip_id)
            for purpose in ("cut", "frames")
        )
        cut = augment.draw_cut(*self.source.size, size=self.size, seed=seed)
        if cut.flip:
            label = int(self.mirrored[label])
        return Drawn(clip_id=clip_id, cut=cut, label=label, seed=of_the_frames)

    def training(
        self, passes: Sequence[Sequence[Drawn]], *, device: torch.device
    ) -> Iterator[Tensor]:
        """A batch for each pass: float32, shape (B, T, 3, size, size), or with S and L for T."""

        def load(drawn: Drawn) -> tuple[Tensor, augment.Cut]:
            return torch.from_numpy(self.source.training(drawn.clip_id, seed=drawn.seed)), drawn.cut

        loaded = prefetch(load, itertools.chain(*passes), workers=self.workers)
        for clips in passes:
            pictures = [
                augment.cut(frames.to(device), cut, size=self.size)
                for frames, cut in itertools.islice(loaded, len(clips))
            ]
            yield self._ready(torch.stack(pictures))

    def testing(
        self, rows: Sequence[int], looks: Looks, *, batch_size: int, device: torch.device
    ) -> Iterator[Tensor]:
        """A batch of looks for each few rows, in order: float32, shape (B, V, T, 3, size, size).

        V is `looks.clips` times `looks.crops`; with S and L for T where the net takes segments.
        """

        def load(row: int) -> Tensor:
            clips = self.source.testing(self.clip_ids[row], num_clips=looks.clips)
            return torch.from_numpy(clips)

        loaded = prefetch(load, rows, workers=self.workers)
        size = max(1, batch_size // (looks.clips * looks.crops))
        for begin in range(0, len(rows), size):
            seen = [
                torch.cat(
                    [
                        augment.views(frames, size=self.size, num_crops=looks.crops)
                        for frames in clips.to(device)
                    ]
                )
                for clips in itertools.islice(loaded, min(size, len(rows) - begin))
            ]
            yield self._ready(torch.stack(seen))

    def _ready(self, pictures: Tensor) -> Tensor:
        """Colours normalised; frames in segments where the net wants them so."""
        ready = augment.normalise(pictures)
        if self.in_segments:
            segments = self.source.num_segments, self.source.length
            ready = ready.reshape(*ready.shape[:-4], *segments, *ready.shape[-3:])
        return ready
