"""Clips of frames as training data of a network.

Shape legend: n clips, V views of a clip, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.communication_cost import NO_TRAFFIC
from kinestore.heads import Standardizer, TrainingConfig
from kinestore.heads.training.loop import full_precision, mixed_precision
from kinestore.heads.training.processes import Processes
from kinestore.pipeline.notes import tell
from kinestore.pipeline.training.config import CENTER_VIEW, EvaluationViews
from kinestore.pipeline.training.data import PreparedData
from kinestore.pipeline.training.folds import keep_labeled
from kinestore.pipeline.training.networks.activation_checkpointing import checkpoint_stages
from kinestore.pipeline.training.networks.build_network import (
    BACKBONE,
    build_net,
    start_net,
    takes_segments,
)
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.pipeline.training.networks.data.clip_source import (
    ClipSource,
    open_source,
    padded_notes,
)
from kinestore.pipeline.training.networks.data.transforms import (
    MEAN,
    STD,
    choose_size,
    read_flip_pairs,
)
from kinestore.pipeline.training.networks.malloc import keep_freed_memory
from kinestore.pipeline.training.start_weights import read_start
from kinestore.store import Features, Store, UsageError
from kinestore.store.load import describe_clips

AUGMENTATIONS = ("crop", "affine")

COLOR_SCALING = Standardizer(mean=np.array(MEAN), std=np.array(STD))
"""Scaling of a network's input, by color channel, of pixels from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class FrameClips:
    """Clips of frames in a store, and how a network sees them.

    Attributes:
        store: Knows the clips, their labels and where their videos are.
        input: As `open_source` reads it: "frames", "frames:NAME" or "videos:segments:8x5@256".
        size: Side of the network's input in pixels, up to the frames' shorter side; 7/8 of that
            side where it is None.
        flip_pairs: Pairs of classes, as "left,right", that flipping exchanges.
        views: Views of a test video whose logits are averaged.
        columns: Columns of the user's own that stand in for "label" and "group".
        augmentation: Of training clips: "crop" for multi-scale crops and flips, or "affine" for one
            small rotation, shift and zoom of all frames, without flips.
    """

    store: Store
    input: str = "frames"
    size: int | None = None
    flip_pairs: Sequence[str] = ()
    views: EvaluationViews = CENTER_VIEW
    augmentation: str = "crop"
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            raise UsageError(
                f"augmentation={self.augmentation!r}: must be {' or '.join(AUGMENTATIONS)}"
            )
        if self.augmentation != "crop" and self.flip_pairs:
            raise UsageError(
                f"flip_pair={self.flip_pairs[0]!r}: augmentation={self.augmentation!r} never flips "
                "a clip; leave it out"
            )


class ClipData:
    """Labeled clips of frames, and the network that learns them.

    Args:
        given: Which clips, and how they are seen.
        head: One of `heads.names()` that takes frames, with settings as `model_spec` reads them.
        training: How the network is trained.
        seed: Seed of the first weights, 0 or more.
        processes: Where it is trained. Freed memory of this process is kept from here on.

    Raises:
        UsageError: If network, clips and settings do not fit.
    """

    def __init__(
        self,
        given: FrameClips,
        *,
        head: str,
        training: TrainingConfig,
        seed: int,
        processes: Processes,
    ) -> None:
        if training.standardize != "train":
            raise UsageError(
                f"standardize={training.standardize!r}: is for stored features, and colors of "
                "frames are always scaled alike; leave it out"
            )
        self._start = None if training.weights is None else read_start(training.weights)
        self.weights_taken: str | None = None
        self._source = open_source(given.store, given.input, num_clips=given.views.num_clips)
        found = rows_of_source(given.store, self._source).with_columns(**given.columns)
        self.rows = keep_labeled(found)
        tell(padded_notes(given.store, self._source))
        self.num_unlabeled = len(found.labels) - len(self.rows.labels)
        self.num_changed: int | None = self._source.num_changed
        self._given, self._head, self._training = given, head, training
        self._seed, self._processes = seed, processes
        self._size = choose_size(given.size, self._source.size)
        self._samples = ClipSamples(
            source=self._source,
            clip_ids=self.rows.clip_ids,
            labels=self.rows.labels,
            flipped_class=read_flip_pairs(given.flip_pairs, self.rows.classes),
            size=self._size,
            in_segments=takes_segments(head),
            num_workers=processes.num_workers,
            affine=given.augmentation == "affine",
        )
        self._shape: torch.Size | None = None
        keep_freed_memory()

    def describe(self) -> dict[str, object]:
        """Return the entries of config.json that say how clips are presented."""
        views, augmentation = self._given.views, self._given.augmentation
        return {
            "size": self._size,
            "flip_pairs": list(self._given.flip_pairs),
            "test_views": {"clips": views.num_clips, "crops": views.num_crops},
            **({} if augmentation == "crop" else {"augmentation": augmentation}),
            **({"columns": dict(taken)} if (taken := self.rows.taken_from) else {}),
        }

    def example(self) -> Tensor:
        """Return the shape of the first clip, on the meta device."""
        if self._shape is None:
            self._shape = self._first_clip().shape
        return torch.empty(self._shape, device="meta")

    def new_model(self, seed: int | None = None) -> nn.Module:
        """Build the network before training, on its device."""
        seed = self._seed if seed is None else seed
        classes, source, size = self.rows.classes, self._source, self._size
        if self._start is None:
            network = build_net(
                self._head, num_classes=len(classes), source=source, size=size, seed=seed
            )
        else:
            network, self.weights_taken = start_net(
                self._head,
                classes=classes,
                source=source,
                size=size,
                start=self._start,
                seed=seed,
            )
            if self._training.freeze and BACKBONE in self.weights_taken:
                raise UsageError(
                    f"freeze={self._training.freeze!r}: would leave random parts of the network "
                    f"as they are ({self.weights_taken}); leave it out, or give weights of all"
                )
        if self._training.activation_checkpointing:
            checkpoint_stages(network, self._first_clip().cpu())
        return network.to(self._processes.device)

    def check(self, model: nn.Module) -> None:
        """Pass one clip through a network, so that what does not fit is refused before it starts.

        Raises:
            UsageError: If the network does not take such clips.
        """
        clip = self._first_clip()
        self._shape = clip.shape
        try:
            with torch.inference_mode():
                model.eval()(clip)
        except (RuntimeError, AssertionError) as error:  # of torchvision
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"size={self._size}: clips of shape {tuple(clip.shape[1:])} do not fit the "
                f"network ({reason}); use another size or other frames"
            ) from error

    def prepare(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        measured: Sequence[NDArray[np.int64]] | None = None,
    ) -> PreparedData:
        """Hand each client its clips; colors are scaled alike everywhere."""

        def center(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return self._logits(model, numbers, CENTER_VIEW)

        def all_views(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return self._logits(model, numbers, self._given.views)

        return PreparedData(
            clients=[self._samples.subset(part) for part in parts],
            predict=center,
            predict_final=all_views,
            standardizer=COLOR_SCALING,
            traffic=NO_TRAFFIC,
        )

    def _logits(self, model: nn.Module, rows: NDArray[np.int64], views: EvaluationViews) -> Tensor:
        return predict_clips(
            model,
            self._samples,
            rows,
            num_classes=len(self.rows.classes),
            views=views,
            training=self._training,
            processes=self._processes,
        )

    def _first_clip(self) -> Tensor:
        """Read a batch of one onto the device."""
        device = self._processes.device
        return next(self._samples.testing([0], CENTER_VIEW, batch_size=1, device=device))[:, 0]


def predict_clips(
    model: nn.Module,
    samples: ClipSamples,
    rows: NDArray[np.int64],
    *,
    num_classes: int,
    views: EvaluationViews,
    training: TrainingConfig,
    processes: Processes,
) -> Tensor:
    """Return logits of rows, the mean over all views of a clip: float32, shape (n, K).

    The network is left in evaluation mode. Each process computes its share, and all get all.
    """
    model.eval()
    processes.broadcast_buffers(model)
    logits = torch.zeros(len(rows), num_classes, device=processes.device)
    places = torch.arange(processes.rank, len(rows), processes.count)
    own = rows[places.numpy()].tolist()
    batches = samples.testing(own, views, batch_size=training.batch_size, device=processes.device)
    answers = []
    with torch.inference_mode(), mixed_precision(training, processes.device):
        for batch in batches:
            each = full_precision(model(batch.flatten(0, 1)))
            answers.append(each.reshape(*batch.shape[:2], num_classes).mean(1))
    if answers:
        logits[places.to(processes.device)] = torch.cat(answers).to(logits)
    return processes.total(logits).cpu()


def rows_of_source(store: Store, source: ClipSource) -> Features:
    """Return a row, without features, for each clip of the store that the source has.

    Of several files with the same bytes, the newest gives label, group, split and uri, as in
    `Store.load`.
    """
    newest = {row["clip_id"]: row for row in store.sources()}
    clip_ids = sorted(newest.keys() & set(source.clip_ids))
    nothing = np.zeros((len(clip_ids), 0), np.float32)
    return describe_clips(nothing, clip_ids, rows=newest, views=[source.name], widths=[])
