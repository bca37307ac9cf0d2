"""Clips decoded on the fly: other frames in each epoch, and nothing stored on disk.

Shape legend: N clips of a video, S segments, L frames in a row, T = S * L frames of a clip, H
height, W width.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.clip_format import ClipFormat, resize_to_cover
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_conversion import RgbConverter
from kinestore.pipeline.video.identity import identify, unchanged
from kinestore.pipeline.video.local_copy import is_remote, local_video
from kinestore.pipeline.video.reader import VideoReader
from kinestore.pipeline.video.samplers import FrameIndices, center_segments, random_segments
from kinestore.store import Store, UsageError

ClipPixels = NDArray[np.uint8]


class StreamedVideos:
    """Clips decoded from the videos whose bytes are still those that were extracted.

    A stored frame and a streamed one have the same bytes; so have the test clips.

    Attributes:
        name: Name of the source in run folders.
        clip_ids: Clips that have such a file.
        num_changed: Clips that have none.
        size: (H, W) of every frame.
        num_segments: S.
        length: L.
    """

    def __init__(self, store: Store, taken: ClipFormat) -> None:
        self.name = f"videos:{taken.name}"
        self.num_segments, self.length = taken.counts
        self.size = taken.size[::-1]
        columns = ["clip_id", "uri", "num_frames"]
        rows = store.clips().select(columns).to_pylist()
        self._num_frames = {row["clip_id"]: row["num_frames"] for row in rows}
        if remote := [] if store.remote_videos else [r for r in rows if is_remote(r["uri"])]:
            raise UsageError(
                f"input={self.name!r}: {len(remote)} of {len(rows)} videos lie at addresses that "
                f"the store names, such as {remote[0]['uri']}; give --remote-videos to read them "
                "with your credentials (in Python, Store(path, remote_videos=True))"
            )
        self._uris = _unchanged(rows)
        self.clip_ids = sorted(self._uris)
        self.num_changed = len(self._num_frames) - len(self._uris)
        if not self.clip_ids:
            raise UsageError(
                f"input={self.name!r}: none of {len(self._num_frames)} clips has a video whose "
                "bytes are those that were extracted; put the videos back, or use stored frames"
            )

    def training(self, clip_id: str, *, seed: int) -> ClipPixels:
        """Read one clip, at a random place of each segment: uint8, shape (T, H, W, 3).

        Raises:
            VideoError: If the video is gone, or has changed and cannot be decoded.
        """
        indices = random_segments(
            self._num_frames[clip_id],
            num_segments=self.num_segments,
            length=self.length,
            seed=seed,
        )
        return self._decode(clip_id, indices.ravel())

    def testing(self, clip_id: str, *, num_clips: int) -> ClipPixels:
        """Read clips from the centers of N * S segments, in turn: uint8, shape (N, T, H, W, 3).

        Raises:
            VideoError: As `training` does.
        """
        indices = center_segments(
            self._num_frames[clip_id],
            num_segments=self.num_segments * num_clips,
            length=self.length,
        )
        by_clip = indices.reshape(self.num_segments, num_clips, self.length).swapaxes(0, 1)
        pictures = self._decode(clip_id, by_clip.ravel())
        return pictures.reshape(num_clips, -1, *pictures.shape[1:])

    def _decode(self, clip_id: str, indices: FrameIndices) -> ClipPixels:
        """Decode frames and scale them one by one, in little memory."""
        pictures = np.empty((len(indices), *self.size, 3), np.uint8)
        wanted, last = set(indices.tolist()), int(indices.max())
        convert = RgbConverter()
        with (
            local_video(self._uris[clip_id], {}) as path,
            unchanged(path, clip_id),
            VideoReader(path) as reader,
        ):
            for index, _, frame in reader:
                if index in wanted:
                    # Turned pictures are views, which are not contiguous.
                    rgb = np.ascontiguousarray(convert(frame, reader.upright_size))
                    pictures[indices == index] = resize_to_cover(rgb[None], size=self.size[::-1])
                if index == last:
                    return pictures
        raise VideoError("no-frames", f"{self._uris[clip_id]}: ends before frame {last}")


def _unchanged(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Find the videos whose bytes did not change, by clip_id."""

    def find(row: Mapping[str, str]) -> tuple[str, str] | None:
        try:
            same = identify(row["uri"]) == row["clip_id"]
        except VideoError:
            return None
        return (row["clip_id"], row["uri"]) if same else None

    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
        return dict(found for found in pool.map(find, rows) if found is not None)
