"""Where something lies: on a file system of this machine, or in an object store."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard, cast
from urllib.parse import unquote

from kinestore.store.errors import UsageError
from kinestore.store.io.object_stores import PACKAGES, require_package
from kinestore.store.io.remote_path import RemotePath

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CUT = frozenset(f"{protocol}:" for protocol in ("file", *PACKAGES))
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def as_path(named: str | Path) -> Path:
    """The path that a person named: of a local file, or of `file://`, `s3://` or `gs://`.

    Returns:
        A `RemotePath` for an object store, under the name of Path: it has those methods that are
        used here.

    Raises:
        UsageError: If it is an address of another kind, or no address; it may hold a password,
            which is not repeated.
    """
    if isinstance(named, Path):
        if named.parts and named.parts[0] in _CUT:
            raise UsageError(f"{named}: give the address as text; a Path drops one of its slashes")
        return named
    if is_remote(named):
        return cast(Path, named)
    address = _ADDRESS.fullmatch(named)
    if address is None:
        return Path(named)
    protocol, rest = address[1].lower(), address[2]
    if protocol == "file":
        return _local(rest)
    if protocol not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UsageError(f"{protocol}://: must be a local path, file://, {known}")
    key = _key(protocol, rest)
    require_package(protocol)
    return cast(Path, RemotePath(protocol, key))


def local_path(named: str) -> Path:
    """The path of a file on this machine that a person named.

    Raises:
        UsageError: If it is an address of an object store.
    """
    path = as_path(named)
    if is_remote(path):
        raise UsageError(f"{named}: must be a path on this machine; copy it there afterwards")
    return path


def is_remote(path: object) -> TypeGuard[RemotePath]:
    """Whether a path is one of an object store."""
    return isinstance(path, RemotePath)


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, of a folder wherever it lies."""
    if is_remote(folder):
        yield from cast(Iterator[tuple[Path, list[str], list[str]]], folder.walk())
    else:
        yield from ((Path(where), folders, files) for where, folders, files in os.walk(folder))


def for_arrow(path: Path) -> Any:
    """What pyarrow reads the file from."""
    return path.open("rb") if is_remote(path) else path


def _local(rest: str) -> Path:
    path = rest.removeprefix("localhost")
    if not path.startswith("/"):
        raise UsageError("file://: must go on with a slash and an absolute path")
    return Path(unquote(path))


def _key(protocol: str, rest: str) -> str:
    """The bucket and what follows, with `.` and `..` worked out."""
    bucket, *names = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{protocol}://: a bucket's name must follow, of letters, digits, '.', '_' and '-'; "
            "credentials are taken from the environment"
        )
    kept: list[str] = []
    for name in names:
        if name == "..":
            if not kept:
                raise UsageError(f"{protocol}://{bucket}: '..' leads out of the bucket")
            kept.pop()
        elif name != ".":
            kept.append(name)
    return "/".join([bucket, *kept])
