"""Clips of frames with their labels, as batches that a network takes.

Shape legend: B clips, V views of a clip, T frames, S segments of L frames, K classes.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.heads.training.samples import EpochSamples, Passes
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.data import transforms
from kinestore.pipeline.training.networks.data.affine import Affine, apply_affine, draw_affine
from kinestore.pipeline.training.networks.data.clip_source import ClipSource
from kinestore.pipeline.training.networks.data.prefetch import prefetch


@dataclass(frozen=True, kw_only=True)
class AugmentedClip:
    """One clip as one epoch shows it.

    Attributes:
        clip_id: Identity of the clip.
        crop: Where its frames are cropped and whether they are flipped, or how they are mapped.
        label: Its class, or that of its mirror image.
        seed: Seed of the choice of frames.
    """

    clip_id: str
    crop: transforms.Crop | Affine
    label: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSamples:
    """Labeled clips of frames.

    Attributes:
        source: Where their frames come from.
        clip_ids: One for each row.
        labels: Class of each row, int64, from 0 to K - 1.
        flipped_class: Class of a flipped clip, by that of the clip, int64, shape (K,).
        size: Side of the network's input in pixels.
        in_segments: Whether the network takes (B, S, L, 3, H, W), and not (B, T, 3, H, W).
        num_workers: Threads that read clips.
        affine: Whether training clips are mapped by one affine map each, and not cropped.
    """

    source: ClipSource
    clip_ids: list[str]
    labels: NDArray[np.int64]
    flipped_class: NDArray[np.int64]
    size: int
    in_segments: bool
    num_workers: int
    affine: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: NDArray[np.int64]) -> "ClipSamples":
        """Return some rows, in the order given."""
        clip_ids = [self.clip_ids[row] for row in rows]
        return replace(self, clip_ids=clip_ids, labels=self.labels[rows])

    def augment(self, row: int, *, epoch: int, seed: int) -> AugmentedClip:
        """Draw what an epoch shows of a row, by the seed, the epoch and the clip alone."""
        clip_id, label = self.clip_ids[row], int(self.labels[row])
        crop_seed, frames_seed = (
            transforms.augmentation_seed(purpose, seed, epoch=epoch, clip_id=clip_id)
            for purpose in ("cut", "frames")
        )
        if self.affine:
            affine = draw_affine(crop_seed)
            return AugmentedClip(clip_id=clip_id, crop=affine, label=label, seed=frames_seed)
        crop = transforms.draw_crop(*self.source.size, size=self.size, seed=crop_seed)
        if crop.flip:
            label = int(self.flipped_class[label])
        return AugmentedClip(clip_id=clip_id, crop=crop, label=label, seed=frames_seed)

    def epoch(self, order: NDArray[np.int64], *, number: int, seed: int) -> EpochSamples:
        """Return rows as one epoch shows them; inputs are float32, shape (B, T, 3, size, size).

        Where the network takes segments, T is S and L.
        """
        clips = [self.augment(row, epoch=number, seed=seed) for row in order.tolist()]

        def load(position: int) -> Tensor:
            clip = clips[position]
            return torch.from_numpy(self.source.training(clip.clip_id, seed=clip.seed))

        def inputs(passes: Passes, device: torch.device) -> Iterator[Tensor]:
            loaded = prefetch(load, itertools.chain(*passes), num_workers=self.num_workers)
            for positions in passes:
                frames = zip(positions, itertools.islice(loaded, len(positions)), strict=True)
                cropped = [
                    _shown(each.to(device), clips[position].crop, size=self.size)
                    for position, each in frames
                ]
                yield self._ready(torch.stack(cropped))

        labels = torch.tensor([clip.label for clip in clips], dtype=torch.int64)
        return EpochSamples(labels=labels, inputs=inputs)

    def testing(
        self, rows: Sequence[int], views: EvaluationViews, *, batch_size: int, device: torch.device
    ) -> Iterator[Tensor]:
        """Read batches of all views of rows, in order: float32, shape (B, V, T, 3, size, size).

        V is the product of the clips and crops of `views`.
        """

        def load(row: int) -> Tensor:
            clips = self.source.testing(self.clip_ids[row], num_clips=views.num_clips)
            return torch.from_numpy(clips)

        loaded = prefetch(load, rows, num_workers=self.num_workers)
        size = max(1, batch_size // (views.num_clips * views.num_crops))
        for begin in range(0, len(rows), size):
            clips = itertools.islice(loaded, min(size, len(rows) - begin))
            batch = [self._crops(each.to(device), views.num_crops) for each in clips]
            yield self._ready(torch.stack(batch))

    def identity(self) -> str:
        """Return a hash of which clips these are and how they are presented."""
        known = {
            "source": self.source.name,
            "clips": self.clip_ids,
            "labels": self.labels.tolist(),
            "flipped": self.flipped_class.tolist(),
            "size": self.size,
            **({"affine": True} if self.affine else {}),
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def _crops(self, clips: Tensor, num_crops: int) -> Tensor:
        """Return all test-time crops of the clips of one video."""
        crops = [transforms.evaluation_crops(c, size=self.size, num_crops=num_crops) for c in clips]
        return torch.cat(crops)

    def _ready(self, frames: Tensor) -> Tensor:
        """Normalize colors, and divide frames into segments where the network takes them so."""
        ready = transforms.normalize(frames)
        if self.in_segments:
            segments = self.source.num_segments, self.source.length
            ready = ready.reshape(*ready.shape[:-4], *segments, *ready.shape[-3:])
        return ready


def _shown(frames: Tensor, where: transforms.Crop | Affine, *, size: int) -> Tensor:
    """Return the frames of a training clip, uint8, shape (T, 3, size, size)."""
    if isinstance(where, Affine):
        return apply_affine(frames, where, size=size)
    return transforms.crop(frames, where, size=size)
