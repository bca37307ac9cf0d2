"""The identity of a video: a hash of its bytes."""

import hashlib

from kinestore.pipeline.video.errors import unreadable
from kinestore.pipeline.video.reader import check_regular_file
from kinestore.store.io.addresses import open_storage


def identify(uri: str) -> str:
    """Return the clip's identity: the first 32 hex digits of the SHA-256 of the file's bytes.

    Raises:
        VideoError: If it is not a regular file or cannot be read.
    """
    storage = open_storage(uri)
    if storage.local_root is not None:
        check_regular_file(storage.local_root)
    try:
        with storage.open() as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()[:32]
    except OSError as error:
        raise unreadable(uri, error) from error
