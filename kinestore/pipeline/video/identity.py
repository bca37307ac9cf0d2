"""The identity of a video: a hash of its bytes."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from kinestore.pipeline.video.errors import VideoError, unreadable, with_uri
from kinestore.pipeline.video.open_video import check_regular_file
from kinestore.pipeline.video.segment import Segment, split_uri
from kinestore.store.io.addresses import open_storage

CHUNK_BYTES = 1 << 20
"""Bytes that are read and hashed at a time: a job can be stopped between two."""


def identify(uri: str, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the clip's identity: the first 32 hex digits of the SHA-256 of the file's bytes.

    That of a segment is a hash of the file's identity and of the segment.

    Args:
        uri: A path, or an address; a segment may follow, as in `segment.split_uri`.
        on_bytes: Receives the number of bytes of each chunk; what it raises ends the hashing.

    Raises:
        VideoError: If it is not a regular file, cannot be read, or grows while it is read.
    """
    file, segment = split_uri(uri)
    storage = open_storage(file)
    try:
        if storage.local_root is not None:
            check_regular_file(storage.local_root)
        left, digest = storage.size(), hashlib.sha256()
        with storage.open() as handle:
            while chunk := handle.read(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise VideoError("changing", f"{uri}: grows while it is read; try again later")
                digest.update(chunk)
                if on_bytes is not None:
                    on_bytes(len(chunk))
    except OSError as error:
        raise unreadable(uri, error) from error
    except VideoError as error:
        raise with_uri(error, storage.address, uri) from error
    file_id = digest.hexdigest()[:32]
    return file_id if segment is None else segment.clip_id(file_id)


@contextlib.contextmanager
def unchanged(path: Path, clip_id: str, segment: Segment | None = None) -> Iterator[None]:
    """Reject what is read in the block if it was not the bytes of this identity, or segment.

    The file is hashed again after the block, which finds everything that was written, appended or
    removed since it was hashed first. Its size and times show what changed during the block.

    Raises:
        VideoError: Of kind "changing", also instead of an error that such bytes caused.
    """
    before = _state(path)
    try:
        yield
    except VideoError as error:
        _require(path, clip_id, before, segment, cause=error)
        raise
    _require(path, clip_id, before, segment)


def _require(
    path: Path,
    clip_id: str,
    before: tuple[int, ...],
    segment: Segment | None,
    *,
    cause: VideoError | None = None,
) -> None:
    if _state(path) != before or identify(f"{path}{segment or ''}") != clip_id:
        message = f"{path}: changed after it was hashed; try again when nothing writes to it"
        raise VideoError("changing", message) from cause


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
