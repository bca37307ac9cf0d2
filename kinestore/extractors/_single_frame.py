"""One frame of a clip, drawn from its keyframes, for networks on single pictures."""

from typing import Any

from kinestore.extractors._base import PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice, draw_index
from kinestore.extractors._preprocessing import Preprocessing


def prepare_single_frame(
    clip: ClipFrames, frame_choice: FrameChoice, preprocessing: Preprocessing
) -> PreparedClip:
    """Draw one of the frames uniformly, from clip and seed alone, and preprocess it: (3, H, W)."""
    chosen = frame_choice.indices(clip, frame_choice.num_keyframes)
    at = draw_index(clip.clip_id, count=frame_choice.num_keyframes, seed=frame_choice.seed)
    index = chosen[at : at + 1]
    return PreparedClip(
        clip_id=clip.clip_id,
        pixels=preprocessing.resize_and_crop(clip.rgb(index))[0],
        frame_index=index,
        pts_s=clip.pts_s[index],
    )


def single_frame_settings(frame_choice: FrameChoice) -> dict[str, Any]:
    """Return the settings that a view's specification records; the seed counts for every kind."""
    return {
        **frame_choice.settings(frame_choice.num_keyframes),
        "drawn": 1,
        "seed": frame_choice.seed,
    }
