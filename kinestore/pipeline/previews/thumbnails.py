"""A small picture of each clip, for a page.

A file is decoded only if its bytes are still those that were extracted: they have been decoded
before, in a process where a hostile file does no harm.

Shape legend: H height, W width.
"""

import contextlib
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, as_completed

import cv2
import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.previews.captions import captions
from kinestore.pipeline.video.decoded_video import DecodedVideo, decode_frames
from kinestore.pipeline.video.identity import unchanged
from kinestore.pipeline.video.local_copy import is_remote, local_video
from kinestore.pipeline.video.segment import split_uri
from kinestore.progress import Progress
from kinestore.store import KinestoreError, Store

SIDE = 160
"""The longer side of a thumbnail in pixels."""

MOST = 10_000
"""Thumbnails of one page: about 15 MB. Further clips have none."""

_LATEST = 250
"""Without a caption's frame the middle one is taken, but none after this."""

_QUALITY = 70


def thumbnails(
    store: Store,
    clip_ids: Collection[str],
    *,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """Decode a frame of each clip: the one that its caption describes, else the middle one.

    Args:
        store: Store of the clips.
        clip_ids: The clips; of more than `MOST`, those whose clip_ids come first, which are hashes
            and so as good as random.
        progress: Called after each.

    Returns:
        WebP files by clip_id; none of a clip whose video is gone, has changed or does not decode,
        or has an address that the store may not be followed to.
    """
    wanted = set(sorted(set(clip_ids))[:MOST])
    texts = captions(store, wanted)
    jobs = []
    for row in store.clips().select(["clip_id", "uri", "num_frames"]).to_pylist():
        if row["clip_id"] in wanted and (store.remote_videos or not is_remote(row["uri"])):
            caption = texts.get(row["clip_id"])
            middle = min((row["num_frames"] or 0) // 2, _LATEST)
            frame = middle if caption is None or caption.frame is None else caption.frame
            jobs.append((row["clip_id"], row["uri"], frame))
    found: dict[str, bytes] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(_thumbnail, *job) for job in jobs]
        for done, future in enumerate(as_completed(futures), start=1):
            clip_id, picture = future.result()
            if picture is not None:
                found.setdefault(clip_id, picture)
            if progress is not None:
                progress("thumbnails", done, len(futures))
    return {clip_id: found[clip_id] for clip_id in sorted(found)}


def unfetched(store: Store, clip_ids: Collection[str]) -> str:
    """Describe, for the user, the clips without a thumbnail as their videos are not fetched."""
    rows = store.clips().select(["clip_id", "uri"]).to_pylist() if not store.remote_videos else ()
    wanted, found = set(clip_ids), dict[str, bool]()
    for row in rows:
        if row["clip_id"] in wanted:
            found[row["clip_id"]] = found.get(row["clip_id"], True) and is_remote(row["uri"])
    if not (num := sum(found.values())):
        return ""
    return f"; {num} clips have no thumbnail, as the store names addresses (--remote-videos)"


def _thumbnail(clip_id: str, uri: str, frame: int) -> tuple[str, bytes | None]:
    """Return the clip, and its picture where there can be one."""
    segment = split_uri(uri)[1]
    with contextlib.suppress(KinestoreError, OSError), local_video(uri, {}) as path:
        with unchanged(path, clip_id, segment):
            if segment is None:
                picture = decode_frames(path, [frame]).rgb[0]
            else:
                picture = DecodedVideo(path, segment=segment).rgb([frame])[0]
        return clip_id, _webp(picture)
    return clip_id, None


def _webp(picture: NDArray[np.uint8]) -> bytes | None:
    """Encode a picture of shape (H, W, 3) as WebP, its longer side scaled to at most `SIDE`."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    good, encoded = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
    return bytes(encoded) if good else None
