"""One frame of a clip, drawn from its keyframes, for networks on single pictures."""

from typing import Any

from kinestore.extractors._base import PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice, draw_index
from kinestore.extractors._preprocessing import Preprocessing
from kinestore.store import UsageError


def prepare_single_frame(
    clip: ClipFrames, frame_choice: FrameChoice, preprocessing: Preprocessing
) -> PreparedClip:
    """Draw one of the frames uniformly, from clip and seed alone, and preprocess it: (3, H, W)."""
    chosen, mask = frame_choice.masked_indices(clip, _num_frames(frame_choice))
    chosen = chosen[mask]
    at = draw_index(clip.clip_id, count=len(chosen), seed=frame_choice.seed)
    index = chosen[at : at + 1]
    return PreparedClip(
        clip_id=clip.clip_id,
        pixels=preprocessing.resize_and_crop(clip.rgb(index))[0],
        frame_index=index,
        pts_s=clip.pts_s[index],
    )


def single_frame_settings(frame_choice: FrameChoice) -> dict[str, Any]:
    """Return the settings that a view's specification records; the seed counts for every kind."""
    if frame_choice.frames is not None or frame_choice.sampling.name == "pieces":
        what = f"frames={frame_choice.frames}" if frame_choice.frames else frame_choice.kind
        raise UsageError(f"{what}: this network takes one picture of a clip; leave it out")
    return {
        **frame_choice.settings(_num_frames(frame_choice)),
        "drawn": 1,
        "seed": frame_choice.seed,
    }


def _num_frames(frame_choice: FrameChoice) -> int:
    return frame_choice.sampling.count or frame_choice.keyframes
