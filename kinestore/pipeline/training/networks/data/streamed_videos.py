"""Clips decoded on the fly: other frames in each epoch, and nothing stored on disk.

Shape legend: N clips of a video, S segments, L frames in a row, T = S * L frames of a clip, H
height, W width.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.clip_format import ClipFormat, first_frames_of, resize_to_cover
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_conversion import RgbConverter
from kinestore.pipeline.video.identity import identify, unchanged
from kinestore.pipeline.video.local_copy import is_remote, local_video
from kinestore.pipeline.video.reader import VideoReader
from kinestore.pipeline.video.segment import frames_of, split_uri
from kinestore.samplers import (
    FrameIndices,
    consecutive_clips,
    random_clip,
    random_segments,
    uniform_clips,
)
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
        first_frames: First frames of a video that a clip reaches over, if it has the first ones.
    """

    def __init__(self, store: Store, taken: ClipFormat) -> None:
        self.name, self._format = f"videos:{taken.name}", taken
        self.num_segments, self.length = taken.segments
        self.size, self.first_frames = taken.size[::-1], first_frames_of(taken.spec)
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
        """Read one clip: uint8, shape (T, H, W, 3).

        Its segments, pieces or random clip are drawn by the seed; other frames are always the same.

        Raises:
            VideoError: If the video is gone, or has changed and cannot be decoded.
        """
        num_frames, counts = self._num_frames[clip_id], self._format.counts
        match self._format.sampling:
            case "segments":
                indices = random_segments(
                    num_frames, num_segments=self.num_segments, length=self.length, seed=seed
                )
            case "pieces":
                pieces = consecutive_clips(num_frames, length=self.length)
                drawn = random_segments(len(pieces), num_segments=self.num_segments, seed=seed)
                indices = pieces[drawn.ravel()]
            case "random":
                indices = random_clip(
                    num_frames, length=counts[0], stride=self._format.stride, seed=seed
                )
            case _:
                indices = self._format.indices(num_frames)
        return self._decode(clip_id, indices.ravel())

    def testing(self, clip_id: str, *, num_clips: int) -> ClipPixels:
        """Read clips for testing, the same each time: uint8, shape (N, T, H, W, 3).

        They have the centers of N * S segments or runs of pieces, in turn; or start evenly.

        Raises:
            VideoError: As `training` does.
        """
        num_frames, counts = self._num_frames[clip_id], self._format.counts
        if self._format.sampling == "random":
            by_clip = uniform_clips(
                num_frames, num_clips=num_clips, length=counts[0], stride=self._format.stride
            )
        elif self._format.sampling in ("segments", "pieces"):
            parts = self._format.parts(num_frames, count=self.num_segments * num_clips)
            by_clip = parts.reshape(self.num_segments, num_clips, self.length).swapaxes(0, 1)
        else:
            by_clip = self._format.indices(num_frames)
        pictures = self._decode(clip_id, by_clip.ravel())
        return pictures.reshape(num_clips, -1, *pictures.shape[1:])

    def _decode(self, clip_id: str, indices: FrameIndices) -> ClipPixels:
        """Decode frames and scale them one by one, in little memory."""
        pictures = np.empty((len(indices), *self.size, 3), np.uint8)
        wanted, last = set(indices.tolist()), int(indices.max())
        convert, segment = RgbConverter(), split_uri(self._uris[clip_id])[1]
        with (
            local_video(self._uris[clip_id], {}) as path,
            unchanged(path, clip_id, segment),
            VideoReader(path) as reader,
        ):
            for index, _, frame in frames_of(reader, segment):
                if index in wanted:
                    # Turned pictures are views, which are not contiguous.
                    rgb = np.ascontiguousarray(convert(frame, reader.upright_size))
                    pictures[indices == index] = resize_to_cover(rgb[None], size=self.size[::-1])
                if index == last:
                    return pictures
        raise VideoError("no-frames", f"{self._uris[clip_id]}: ends before frame {last}")


def _unchanged(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Find the videos whose bytes did not change, by clip_id; each file is hashed once."""

    def find(file: str) -> str | None:
        try:
            return identify(file)
        except VideoError:
            return None

    files = list(dict.fromkeys(split_uri(row["uri"])[0] for row in rows))
    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
        ids = dict(zip(files, pool.map(find, files), strict=True))
    same = {}
    for row in rows:
        file, segment = split_uri(row["uri"])
        if (found := ids[file]) is None:
            continue
        if (found if segment is None else segment.clip_id(found)) == row["clip_id"]:
            same[row["clip_id"]] = row["uri"]
    return same
