"""Errors of videos that cannot be used."""

import errno
from pathlib import Path

from kinestore.store import KinestoreError


class VideoError(KinestoreError):
    """A video that cannot be used.

    Attributes:
        kind: A short stable word, such as "not-a-video".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        """Pickle with the kind."""
        return VideoError, (self.kind, str(self))


def unreadable(uri: str | Path, error: OSError) -> VideoError:
    """Return the error of a video that the system cannot read."""
    if isinstance(error, FileNotFoundError):
        return VideoError("missing-file", f"{uri}: no such file")
    kind = "no-room" if error.errno == errno.ENOSPC else "unreadable-file"
    return VideoError(kind, f"{uri}: {error.strerror or error}")


def with_uri(error: VideoError, local_path: str | Path, uri: str) -> VideoError:
    """Return the same error, with the address of the video instead of its local copy's path."""
    return VideoError(error.kind, str(error).replace(str(local_path), uri))
