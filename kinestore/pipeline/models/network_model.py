"""A trained network on frames, and the clips that it takes.

Shape legend: N clips, S segments of L frames, K classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.heads import NETWORK_TRAINING, TrainingConfig
from kinestore.heads.support.device import choose_device
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.models.build import build_trained
from kinestore.pipeline.models.clip_logits import ClipLogits, ModelInput
from kinestore.pipeline.models.saved_run import SavedRun, are_names
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.build_network import build_net, takes_segments
from kinestore.pipeline.training.networks.clip_data import (
    FrameClips,
    predict_clips,
    rows_of_source,
)
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.pipeline.training.networks.data.clip_source import (
    ClipSource,
    open_source,
    segments_of,
)
from kinestore.pipeline.training.networks.data.transforms import choose_size
from kinestore.pipeline.video.clip_format import ClipFormat, parse_clip_formats, parse_frames_name
from kinestore.store import Store, UsageError


@dataclass(frozen=True, kw_only=True)
class TrainedLayout:
    """The clips that a network was trained on.

    Attributes:
        name: Name of their source in run folders.
        format: How they are taken of a video.
        num_segments: S of one clip.
        length: L.
        size: Side of the network's input in pixels.
        views: Views of a test video in the run.
    """

    name: str
    format: ClipFormat
    num_segments: int
    length: int
    size: int
    views: EvaluationViews

    @property
    def clips(self) -> str:
        """Their name, as `open_source` reads it."""
        return self.name if self.name.startswith("videos:") else f"frames:{self.name}"

    def with_views(self, store: Store, views: EvaluationViews) -> FrameClips:
        """Return the clips for other test-time views; stored frames of more segments give more.

        Raises:
            UsageError: If the store does not keep so many segments of a video.
        """
        clips = self.clips
        if clips.startswith("frames:") and self.format.sampling == "segments":
            counts = (self.num_segments * views.num_clips, self.length)
            wanted = replace(self.format, counts=counts)
            kept = {spec.name for spec in store.kinds_of_frames()}
            if wanted.spec.name not in kept:
                raise UsageError(
                    f"num_clips={views.num_clips}: {store.address} does not keep frames "
                    f"{wanted.name}; extract them with --frames {wanted.name}"
                )
            clips = f"frames:{wanted.spec.name}"
        return FrameClips(store=store, clips=clips, views=views)

    def check(self, source: ClipSource) -> None:
        """Refuse clips of another length or size than those of the training.

        Raises:
            UsageError: Names what differs.
        """
        own = (self.num_segments, self.length, self.format.size[::-1])
        given = (source.num_segments, source.length, source.size)
        names = ("segments a clip", "frames a segment", "(height, width)")
        for what, trained, found in zip(names, own, given, strict=True):
            if trained != found:
                raise UsageError(
                    f"{source.name}: has {found} {what}, and the network was trained with "
                    f"{trained} of {self.name}; give such clips, or another number of test clips"
                )


class NetworkModel:
    """A network of a finished run.

    Args:
        run: The run.
        device: "auto" for a GPU if there is one, "cpu" or "cuda".

    Attributes:
        inputs: The clips of frames that it takes, as `FrameClips` reads them.
    """

    def __init__(self, run: SavedRun, *, device: str) -> None:
        self._run, self._layout = run, _read_layout(run)
        self._processes = replace(ONE_PROCESS, device=choose_device(device))
        self._training = _read_training(run)
        self.inputs = [self._layout.clips]

    def choose_views(
        self, store: Store, *, num_clips: int | None, num_crops: int | None
    ) -> FrameClips:
        """Return the clips of a store for other test-time views than those of the run."""
        views = EvaluationViews(
            num_clips=self._layout.views.num_clips if num_clips is None else num_clips,
            num_crops=self._layout.views.num_crops if num_crops is None else num_crops,
        )
        return self._layout.with_views(store, views)

    def open(self, data: ModelInput) -> ClipLogits:
        """Take the clips of a store; with a store alone they are tested as the run did.

        Of `FrameClips` the store, the clips and the views are used: the number of test clips and
        crops may be another than in training.

        Raises:
            UsageError: If the store has no such clips.
        """
        if isinstance(data, Store):
            data = FrameClips(store=data, clips=self._layout.clips, views=self._layout.views)
        if not isinstance(data, FrameClips):
            raise UsageError(
                f"{type(data).__name__}: {self._run.head} takes clips of frames; give a store, or "
                "kinestore.FrameClips"
            )
        views = data.views
        source = open_source(data.store, data.clips, num_clips=views.num_clips)
        self._layout.check(source)
        rows = rows_of_source(data.store, source)
        num_classes = len(self._run.classes)
        samples = ClipSamples(
            source=source,
            clip_ids=rows.clip_ids,
            labels=np.zeros(len(rows.labels), np.int64),
            flipped_class=np.arange(num_classes),
            size=self._layout.size,
            in_segments=takes_segments(self._run.head),
            num_workers=self._processes.num_workers,
        )

        def logits(client: int | None, numbers: NDArray[np.int64]) -> Tensor:
            return predict_clips(
                self._build(client).to(self._processes.device),
                samples,
                numbers,
                num_classes=num_classes,
                views=views,
                training=self._training,
                processes=self._processes,
            )

        return ClipLogits(rows=rows, logits=logits)

    def _build(self, client: int | None) -> torch.nn.Module:
        def create() -> torch.nn.Module:
            return build_net(
                self._run.head,
                num_classes=len(self._run.classes),
                source=self._layout,
                size=self._layout.size,
                weights=None,
                seed=0,
            )

        return build_trained(self._run, create, client=client)


def _read_layout(run: SavedRun) -> TrainedLayout:
    config = run.config
    names, size, views = config.get("features"), config.get("size"), _read_views(run)
    if not are_names(names) or len(names) != 1:
        raise unusable(run.path, "config.json: names no clips of frames")
    (name,) = names
    if type(size) is not int:
        raise unusable(run.path, f"config.json: size={size!r} is no number of pixels")
    streamed = name.startswith("videos:")
    if streamed:
        (found,) = parse_clip_formats([name.removeprefix("videos:")]).values()
    else:
        found = parse_frames_name(name)
    num_segments, length = segments_of(found.spec)
    if not streamed:
        if num_segments % views.num_clips:
            raise unusable(
                run.path,
                f"config.json: {views.num_clips} clips do not divide the segments of {name}",
            )
        num_segments //= views.num_clips
    return TrainedLayout(
        name=name,
        format=found,
        num_segments=num_segments,
        length=length,
        size=choose_size(size, found.size),
        views=views,
    )


def _read_views(run: SavedRun) -> EvaluationViews:
    entry = run.config.get("test_views")
    match entry:
        case {"clips": int(num_clips), "crops": int(num_crops)}:
            return EvaluationViews(num_clips=num_clips, num_crops=num_crops)
    raise unusable(run.path, "config.json: has no valid test-time views")


def _read_training(run: SavedRun) -> TrainingConfig:
    """Read what decides the bits of a prediction: the batch size and the precision."""
    settings = run.config.get("settings")
    if not isinstance(settings, dict) or type(settings.get("batch_size")) is not int:
        raise unusable(run.path, "config.json: settings have no batch_size")
    return replace(
        NETWORK_TRAINING,
        batch_size=settings["batch_size"],
        precision=settings.get("precision"),
    )
