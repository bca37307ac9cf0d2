"""Local files with videos that may lie in object stores, for as long as they are read."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from kinestore.pipeline.video.errors import VideoError, unreadable, with_uri
from kinestore.pipeline.video.segment import split_uri
from kinestore.store import KinestoreError
from kinestore.store.io.addresses import open_storage


def is_remote(uri: str) -> bool:
    """Return whether a video lies in an object store."""
    with contextlib.suppress(KinestoreError):
        return open_storage(split_uri(uri)[0]).local_root is None
    return True  # reading it gives the error


@contextlib.contextmanager
def local_video(uri: str, seconds: dict[str, float]) -> Iterator[Path]:
    """Yield a local file with the video; a copy is removed afterwards.

    Args:
        uri: A path, or an address; a segment may follow.
        seconds: Receives the time for copying, as "fetch".

    Raises:
        VideoError: If it cannot be copied. Errors raised in the block name the address.
    """
    storage = open_storage(split_uri(uri)[0])
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        try:
            here = stack.enter_context(storage.local_copy())
        except OSError as error:
            raise unreadable(uri, error) from error
        if storage.local_root is None:
            seconds["fetch"] = time.perf_counter() - started
        try:
            yield here
        except VideoError as error:
            raise with_uri(error, here, uri) from error
