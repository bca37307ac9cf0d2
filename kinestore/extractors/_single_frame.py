"""One frame of a clip, drawn from its keyframes, for networks on single pictures."""

from typing import Any

from kinestore.extractors._base import PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice, draw_index
from kinestore.extractors._preprocessing import Preprocessing


def prepare_single_frame(
    clip: ClipFrames, frames: FrameChoice, preprocessing: Preprocessing
) -> PreparedClip:
    """Draw one of the frames uniformly, from clip and seed alone, and preprocess it: (3, H, W)."""
    chosen = frames.indices(clip, frames.num_keyframes)
    at = draw_index(clip.clip_id, count=frames.num_keyframes, seed=frames.seed)
    index = chosen[at : at + 1]
    return PreparedClip(
        clip_id=clip.clip_id,
        pixels=preprocessing.resize_and_crop(clip.rgb(index))[0],
        frame_index=index,
        pts_s=clip.pts_s[index],
    )


def single_frame_settings(frames: FrameChoice) -> dict[str, Any]:
    """Return the settings that a view's specification records; the seed counts for every kind."""
    return {**frames.settings(frames.num_keyframes), "drawn": 1, "seed": frames.seed}
