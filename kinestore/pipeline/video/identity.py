"""The identity of a video: a hash of its bytes."""

import hashlib
from collections.abc import Callable

from kinestore.pipeline.video.errors import VideoError, unreadable, with_uri
from kinestore.pipeline.video.open_video import check_regular_file
from kinestore.store.io.addresses import open_storage

CHUNK_BYTES = 1 << 20
"""Bytes that are read and hashed at a time: a job can be stopped between two."""


def identify(uri: str, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the clip's identity: the first 32 hex digits of the SHA-256 of the file's bytes.

    Args:
        uri: A path, or an address.
        on_bytes: Receives the number of bytes of each chunk; what it raises ends the hashing.

    Raises:
        VideoError: If it is not a regular file, cannot be read, or grows while it is read.
    """
    storage = open_storage(uri)
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
    return digest.hexdigest()[:32]
