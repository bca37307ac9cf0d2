"""One frame of a clip, drawn from those that were chosen, for networks that look at a picture."""

from typing import Any

from kinestore.extractors._base import Prepared
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice, draw
from kinestore.extractors._preprocessing import Pictures


def prepare_one(clip: ClipFrames, frames: FrameChoice, pictures: Pictures) -> Prepared:
    """The frame, shrunk: shape (3, H, W). Each is as likely, by the clip and the seed alone."""
    chosen = frames.indices(clip, frames.num_keyframes)
    at = draw(clip.clip_id, count=frames.num_keyframes, seed=frames.seed)
    index = chosen[at : at + 1]
    return Prepared(
        clip_id=clip.clip_id,
        pixels=pictures.shrink(clip.rgb(index))[0],
        frame_index=index,
        pts_s=clip.pts_s[index],
    )


def sampling_settings(frames: FrameChoice) -> dict[str, Any]:
    """What a view's specification says of it; evenly spaced frames are drawn from by seed too."""
    return {**frames.settings(frames.num_keyframes), "drawn": 1, "seed": frames.seed}
