"""Videos of object stores, on a local file system for as long as somebody looks at them."""

import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path

from kinestore.pipeline.video.reader import VideoError
from kinestore.store.io.atomic import local_copy
from kinestore.store.io.paths import as_path, is_remote


@contextlib.contextmanager
def local_video(uri: str, seconds: dict[str, float]) -> Iterator[str | Path]:
    """A local file with the video, removed afterwards if it is a copy.

    Args:
        uri: A path, or an address.
        seconds: Where the time for copying is noted, as "fetch".

    Raises:
        VideoError: If it cannot be copied; or as the block raises it, naming the address.
    """
    if not is_remote(as_path(uri)):
        yield uri
        return
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        try:
            here = stack.enter_context(local_copy(as_path(uri)))
        except OSError as error:
            raise unreadable(uri, error) from error
        seconds["fetch"] = time.perf_counter() - started
        try:
            yield here
        except VideoError as error:
            raise named(error, here, uri) from error


def unreadable(uri: str, error: OSError) -> VideoError:
    """What the ledger says of a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return VideoError("missing-file", f"{uri}: no such file")
    kind = "no-room" if error.errno == errno.ENOSPC else "unreadable-file"
    return VideoError(kind, f"{uri}: {error.strerror or error}")


def named(error: VideoError, here: str | Path, uri: str) -> VideoError:
    """The same error of the video that was asked for, and not of a copy."""
    return VideoError(error.kind, str(error).replace(str(here), uri))
