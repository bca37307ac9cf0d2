"""A picture of the places in a video that are evidence for a class to a trained network.

Shape legend: S segments of L frames, T frames of a clip, F that are shown, H and W pixels.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.explain.grad_cam import grad_cam
from kinestore.pipeline.explain.overlay import OVERLAY_SUFFIXES, OverlayFrames, draw_overlay
from kinestore.pipeline.explain.trained_network import TrainedNetwork, read_network
from kinestore.pipeline.explain.upsample import Peak, find_peak, upsample
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.networks.data import transforms
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.local_copy import local_video
from kinestore.pipeline.video.segment import split_uri
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path


@dataclass(frozen=True, kw_only=True, eq=False)
class InputClip:
    """The input of a network from a video.

    Attributes:
        clip: A batch of one, as the network takes it.
        pictures: The frames to draw: all, or each segment's middle one; uint8, shape
            (F, H, W, 3).
        numbers: Numbers of these frames in the video, length F.
        times_s: Their presentation times in seconds, length F.
    """

    clip: Tensor
    pictures: NDArray[np.uint8]
    numbers: list[int]
    times_s: list[float]


@dataclass(frozen=True, kw_only=True)
class VideoPeak:
    """The place of the strongest evidence: frame of the video, pixels of the network's input."""

    frame: int
    time_s: float
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A picture of the evidence for a class.

    Attributes:
        path: Path of the picture.
        label: The class.
        probability: Its softmax probability.
        predicted: The class with the highest.
        layer: Layer of the maps.
        frames: Numbers of the frames that are drawn.
        size: Side of the network's input in pixels.
        peak: Place of the strongest evidence; None where the layer has none.
    """

    path: Path
    label: str
    probability: float
    predicted: str
    layer: str
    frames: list[int]
    size: int
    peak: VideoPeak | None

    def to_json(self) -> dict[str, object]:
        """Return all as values of JSON, the class as "class" and the path as "out"."""
        values = asdict(self)
        label, path = values.pop("label"), values.pop("path")
        return {"class": label, **values, "out": str(path)}


def explain(
    run: str | Path,
    *,
    video: str | Path,
    out: str | Path,
    label: str | None = None,
    layer: str | None = None,
) -> Explanation:
    """Draw where in a video a trained network sees the evidence for a class, by Grad-CAM.

    The network gets the center clip of the video, as after each epoch of its training.

    Args:
        run: A finished run of a network on frames.
        video: A file, or an address that `extract` takes; a segment may follow, as "#t=1.5,4".
        out: A .png of all frames, or a .gif that plays them; its folder is made if absent.
        label: Class to explain; None for the predicted one.
        layer: Layer of the maps: "res2" to "res5", for c3d "conv1" to "conv5"; None for the last.

    Returns:
        The probability of the class, and the place of its strongest evidence.

    Raises:
        UsageError: If the run cannot be used, or the class, layer or file ending does not exist.
        VideoError: If the video cannot be read.
    """
    path = local_path(out)
    if path.suffix.lower() not in OVERLAY_SUFFIXES:
        raise UsageError(f"out={out}: must end in {' or '.join(OVERLAY_SUFFIXES)}")
    check_replaceable(path, inputs=(video,))
    trained = read_network(run)
    chosen = _choose(layer, trained)
    _check_class(label, trained.classes)
    seen = _read_clip(video, trained)
    probabilities = _predict(run, trained, seen.clip)
    predicted = int(probabilities.argmax())
    target = predicted if label is None else trained.classes.index(label)
    hooked = trained.layers[chosen]
    maps = grad_cam(trained.net, seen.clip, hooked.module, target)
    frames = {"num_frames": len(seen.pictures), "size": trained.layout.size}
    peak = find_peak(maps, hooked, **frames)
    named, probability = trained.classes[target], float(probabilities[target])
    draw_overlay(
        path,
        OverlayFrames(
            title=f"{named} {probability:.3f}",
            subtitle=f"Grad-CAM of {chosen}",
            pictures=seen.pictures,
            maps=upsample(maps, hooked, **frames).numpy(),
            numbers=seen.numbers,
            times_s=seen.times_s,
            peak=peak,
        ),
    )
    return Explanation(
        path=path,
        label=named,
        probability=probability,
        predicted=trained.classes[predicted],
        layer=chosen,
        frames=seen.numbers,
        size=trained.layout.size,
        peak=None if peak is None else _in_video(peak, seen),
    )


def _in_video(peak: Peak, seen: InputClip) -> VideoPeak:
    number, time_s = seen.numbers[peak.frame], seen.times_s[peak.frame]
    return VideoPeak(frame=number, time_s=time_s, x=peak.x, y=peak.y)


def _check_class(label: str | None, classes: list[str]) -> None:
    if label is not None and label not in classes:
        known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        raise UsageError(f"label={label!r}: must be one of {known}")


def _choose(layer: str | None, trained: TrainedNetwork) -> str:
    names = list(trained.layers)
    if layer is not None and layer not in names:
        raise UsageError(f"layer={layer!r}: must be one of {', '.join(names)}")
    return layer or names[-1]


def _read_clip(video: str | Path, trained: TrainedNetwork) -> InputClip:
    """Decode a video, and choose, crop and scale the frames that the network takes."""
    layout = trained.layout
    with local_video(str(video), {}) as path:
        decoded = DecodedVideo(path, segment=split_uri(str(video))[1])
        try:
            frames = layout.center_clip(layout.format.frames_of(decoded))
        except RuntimeError as error:  # what torch raises on a bad picture
            raise VideoError("unfit", f"{video}: {' '.join(str(error).split())[:200]}") from error
    numbers = layout.center_clip(layout.format.indices(decoded.num_frames))
    crops = transforms.evaluation_crops(
        torch.from_numpy(frames), size=trained.layout.size, num_crops=1
    )
    clip, shown = transforms.normalize(crops), np.arange(len(frames))
    if trained.in_segments:
        by_segment = layout.num_segments, layout.length
        clip = clip.reshape(1, *by_segment, *clip.shape[2:])
        shown = shown.reshape(by_segment)[:, layout.length // 2]
    return InputClip(
        clip=clip,
        pictures=crops[0].permute(0, 2, 3, 1).numpy()[shown],
        numbers=numbers[shown].tolist(),
        times_s=decoded.pts_s[numbers[shown]].tolist(),
    )


def _predict(run: str | Path, trained: TrainedNetwork, clip: Tensor) -> Tensor:
    """Return softmax probabilities of the classes, shape (K,)."""
    try:
        with torch.inference_mode():
            logits: Tensor = trained.net(clip)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise unusable(run, f"its network does not take its own clips: {reason}") from error
    if not logits.isfinite().all():
        raise unusable(run, "its network gives logits that are not finite")
    return logits[0].double().softmax(0)
