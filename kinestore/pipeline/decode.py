"""Reading video: the public names of `pipeline.video`."""

from kinestore.pipeline.video.decoded_video import (
    DecodedVideo,
    Frames,
    decode_frames,
    iter_frames,
    probe,
)
from kinestore.pipeline.video.errors import VideoError

__all__ = ["DecodedVideo", "Frames", "VideoError", "decode_frames", "iter_frames", "probe"]
