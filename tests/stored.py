"""Small records for tests of the store."""

import numpy as np

from store import Clip, Embedding, Source, VideoInfo, ViewSpec

INFO = VideoInfo(
    num_frames=9,
    fps=25.0,
    width=64,
    height=48,
    codec="h264",
    duration_s=0.36,
    rotation=0,
    size_bytes=1234,
)
SPEC = ViewSpec(extractor="vector", shape=(2,), settings={"code": 1})


def clip(clip_id: str, **columns: str | None) -> Clip:
    """A clip; its path is made from its identity where none is given."""
    columns.setdefault("uri", f"/videos/{clip_id}.avi")
    return Clip(clip_id=clip_id, source=Source(**columns), info=INFO)  # type: ignore[arg-type]


def embedding(*values: float) -> Embedding:
    """A vector of these values, said to be of the first three frames."""
    vector = np.array(values, np.float32)
    return Embedding(vector=vector, frame_index=np.arange(3), pts_s=np.arange(3) / 25)
