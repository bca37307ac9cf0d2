"""The clips that the network of a finished run takes, and the network itself.

Shape legend: N clips of a video, S segments of L frames.
"""

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray
from torch import nn

from kinestore.pipeline.models.build import build_trained
from kinestore.pipeline.models.saved_run import SavedRun, are_names
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.build_network import build_net
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.pipeline.training.networks.data.clip_source import ClipSource, segments_of
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
    def input(self) -> str:
        """Their name, as `open_source` reads it."""
        return self.name if self.name.startswith("videos:") else f"frames:{self.name}"

    def with_views(self, store: Store, views: EvaluationViews) -> FrameClips:
        """Return the clips for other test-time views; stored frames of more segments give more.

        Raises:
            UsageError: If the store does not keep so many segments of a video.
        """
        name = self.input
        by_parts = self.format.sampling in ("segments", "pieces")
        if name.startswith("frames:") and by_parts:
            counts = (self.num_segments * views.num_clips, self.length)
            wanted = replace(self.format, counts=counts)
            kept = {spec.name for spec in store.kinds_of_frames()}
            if wanted.spec.name not in kept:
                raise UsageError(
                    f"num_clips={views.num_clips}: {store.address} does not keep frames "
                    f"{wanted.name}; extract them with --frames {wanted.name}"
                )
            name = f"frames:{wanted.spec.name}"
        return FrameClips(store=store, input=name, views=views)

    def center_clip(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return what belongs to a video's center clip, by which each epoch is evaluated.

        Args:
            frames: One entry for each frame of `format`, in its order: the frames themselves, or
                their numbers.

        Returns:
            Shape (S * L, ...).
        """
        num_clips = segments_of(self.format.spec)[0] // self.num_segments
        shape = (self.num_segments, num_clips, self.length, *frames.shape[1:])
        return frames.reshape(shape)[:, (num_clips - 1) // 2].reshape(-1, *frames.shape[1:])

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


def read_layout(run: SavedRun) -> TrainedLayout:
    """Read which clips the network of a run takes.

    Raises:
        UsageError: If config.json does not say it, or this version stores no such frames.
    """
    config = run.config
    names, size = config.get("features"), config.get("size")
    if not are_names(names):
        raise unusable(run.path, "config.json: names no head, or no features")
    (name, *others), views = names, _read_views(run)
    if others:
        raise unusable(run.path, "config.json: has no valid test-time views of one kind of clips")
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
    try:
        match entry:
            case {"clips": int(num_clips), "crops": int(num_crops)}:
                return EvaluationViews(num_clips=num_clips, num_crops=num_crops)
    except UsageError as error:
        raise unusable(run.path, f"config.json: has no valid test-time views: {error}") from error
    raise unusable(run.path, "config.json: has no valid test-time views")


def build_trained_network(
    run: SavedRun, layout: TrainedLayout, *, client: int | None = None
) -> nn.Module:
    """Build a run's network with its weights, in evaluation mode, on the CPU.

    Args:
        run: The run.
        layout: The clips that it takes.
        client: The client whose own model it is; None takes the common one.

    Raises:
        UsageError: If it cannot be built, or the run's tensors do not fit it.
    """

    def create() -> nn.Module:
        return build_net(
            run.head,
            num_classes=len(run.classes),
            source=layout,
            size=layout.size,
            seed=0,
        )

    return build_trained(run, create, client=client)
