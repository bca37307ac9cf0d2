"""A clip, a trained net, and a picture of where the net sees what it names.

Shape legend: S segments of L frames, T frames of a clip, F that are shown, H and W pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.explain.grad_cam import grad_cam
from kinestore.pipeline.explain.overlay import SUFFIXES, Shown, draw
from kinestore.pipeline.explain.trained_network import TrainedNet, frame_numbers, read_net
from kinestore.pipeline.explain.upsample import Peak, find_peak, spread
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.networks.data import transforms as augment
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.local_copy import local_video
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class SeenClip:
    """What a net is shown of a video.

    Attributes:
        clip: A batch of one, as the net takes it.
        pictures: What there is to draw: all frames, or each segment's middle one; uint8, shape
            (F, H, W, 3).
        numbers: Of these frames in the video, length F.
        times_s: When they are shown, in seconds, length F.
    """

    clip: Tensor
    pictures: NDArray[np.uint8]
    numbers: list[int]
    times_s: list[float]


def explain(
    run: str | Path,
    *,
    video: str | Path,
    out: str | Path,
    label: str | None = None,
    layer: str | None = None,
) -> dict[str, Any]:
    """Draw where in a video a trained net sees a class, by Grad-CAM.

    The net gets one centre look at the video, as it does after each epoch of its training.

    Args:
        run: A finished run of a net that takes frames.
        video: A file, or an address that `extract` takes.
        out: A .png of all frames, or a .gif that plays them; its folder is made if absent.
        label: The class to look for; the one that the net names where it is None.
        layer: Whose maps: "res2" to "res5", of c3d "conv1" to "conv5"; the last where it is None.

    Returns:
        class, probability, predicted, layer, frames (those that are drawn), size, peak and out.
        peak has frame, time_s, x and y, in pixels of the cut that the net sees; it is None where
        nothing in the layer speaks for the class.

    Raises:
        UsageError: If the run, the class, the layer or the file's ending is none that there is.
        VideoError: If the video cannot be read.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"out={out}: must end in {' or '.join(SUFFIXES)}")
    trained = read_net(run)
    chosen = _choose(layer, trained)
    _check_class(label, trained.classes)
    seen = _look_at(video, trained)
    probabilities = _ask(run, trained, seen.clip)
    predicted = int(probabilities.argmax())
    target = predicted if label is None else trained.classes.index(label)
    looked_at = trained.layers[chosen]
    maps = grad_cam(trained.net, seen.clip, looked_at.module, target)
    frames = {"num_frames": len(seen.pictures), "size": trained.size}
    peak = find_peak(maps, looked_at, **frames)
    named, probability = trained.classes[target], float(probabilities[target])
    draw(
        path,
        Shown(
            title=f"{named} {probability:.3f}",
            subtitle=f"Grad-CAM of {chosen}",
            pictures=seen.pictures,
            maps=spread(maps, looked_at, **frames).numpy(),
            numbers=seen.numbers,
            times_s=seen.times_s,
            peak=peak,
        ),
    )
    return {
        "class": named,
        "probability": probability,
        "predicted": trained.classes[predicted],
        "layer": chosen,
        "frames": seen.numbers,
        "size": trained.size,
        "peak": None if peak is None else _tell(peak, seen),
        "out": str(path),
    }


def _tell(peak: Peak, seen: SeenClip) -> dict[str, Any]:
    """A peak in frames and seconds of the video."""
    number, time_s = seen.numbers[peak.frame], seen.times_s[peak.frame]
    return {"frame": number, "time_s": time_s, "x": peak.x, "y": peak.y}


def _check_class(label: str | None, classes: list[str]) -> None:
    if label is not None and label not in classes:
        known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        raise UsageError(f"class={label!r}: must be one of {known}")


def _choose(layer: str | None, trained: TrainedNet) -> str:
    names = list(trained.layers)
    if layer is not None and layer not in names:
        raise UsageError(f"layer={layer!r}: must be one of {', '.join(names)}")
    return layer or names[-1]


def _look_at(video: str | Path, trained: TrainedNet) -> SeenClip:
    """Decode a video, and take, cut and scale what the net sees of it."""
    look = trained.look
    with local_video(str(video), {}) as path:
        decoded = DecodedVideo(path)
        try:
            frames = look.choose(look.taken.frames_of(decoded))
        except RuntimeError as error:  # what torch raises on a bad picture
            raise VideoError("unfit", f"{video}: {' '.join(str(error).split())[:200]}") from error
    numbers = frame_numbers(look, decoded.num_frames)
    cut = augment.views(torch.from_numpy(frames), size=trained.size, num_crops=1)  # (1, T, ...)
    clip, shown = augment.normalise(cut), np.arange(len(frames))
    if trained.in_segments:
        by_segment = look.num_segments, look.length
        clip = clip.reshape(1, *by_segment, *clip.shape[2:])
        shown = shown.reshape(by_segment)[:, look.length // 2]
    return SeenClip(
        clip=clip,
        pictures=cut[0].permute(0, 2, 3, 1).numpy()[shown],
        numbers=numbers[shown].tolist(),
        times_s=decoded.pts_s[numbers[shown]].tolist(),
    )


def _ask(run: str | Path, trained: TrainedNet, clip: Tensor) -> Tensor:
    """Softmax probabilities of the classes, shape (K,)."""
    try:
        with torch.inference_mode():
            logits: Tensor = trained.net(clip)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise unusable(run, f"its net does not take its own clips: {reason}") from error
    if not logits.isfinite().all():
        raise unusable(run, "its net gives logits that are not finite")
    return logits[0].double().softmax(0)
