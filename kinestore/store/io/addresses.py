"""Conversion of a path or an address to a storage."""

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from kinestore.store.errors import UsageError
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.object_storage import PACKAGES, ObjectStorage, require_package
from kinestore.store.io.storage import Storage

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SHORTENED = frozenset(f"{protocol}:" for protocol in ("file", *PACKAGES))
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def open_storage(named: str | Path) -> Storage:
    """Return the storage at a local path, or at a `file://`, `s3://` or `gs://` address.

    A path that starts with `~` is one in the home folder, as in a shell. Every path that a user
    gives comes through here, so that all commands and functions understand it alike.

    Raises:
        UsageError: If it is another kind of address, or a malformed one; it may hold a password,
            which the message does not repeat.
    """
    if isinstance(named, Path):
        if named.parts and named.parts[0] in _SHORTENED:
            raise UsageError(f"{named}: give the address as text; a Path drops one of its slashes")
        return LocalStorage(_expand(str(named)))
    address = _ADDRESS.fullmatch(named)
    if address is None:
        return LocalStorage(_expand(named))
    protocol, rest = address[1].lower(), address[2]
    if protocol == "file":
        path = rest.removeprefix("localhost")
        if not path.startswith("/"):
            raise UsageError("file://: must continue with a slash and an absolute path")
        return LocalStorage(_expand(os.fsdecode(unquote_to_bytes(os.fsencode(path)))))
    if protocol not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UsageError(f"{protocol}://: must be a local path, file://, {known}")
    key = _normalized_key(protocol, rest)
    require_package(protocol)
    return ObjectStorage(protocol, key)


def local_path(named: str | Path) -> Path:
    """Return the path of a file on this machine.

    Raises:
        UsageError: If it is an address of an object store.
    """
    path = open_storage(named).local_root
    if path is None:
        raise UsageError(f"{named}: must be a path on this machine; copy it there afterwards")
    return path


def _expand(named: str) -> Path:
    """The path, with the home folder for `~` and that of a user for `~user`."""
    if not named or "\0" in named:
        raise UsageError(f"path {named!r}: must have characters, and no NUL among them")
    if not named.startswith("~"):
        return Path(named)
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        if named == "~" or named.startswith("~/"):
            raise UsageError(f"{named}: there is no home folder; write the whole path") from error
        return Path(named)  # there is no such user: as in a shell, a name like any other


def _normalized_key(protocol: str, rest: str) -> str:
    """The bucket and what follows, with `.` and `..` resolved."""
    bucket, *names = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{protocol}://: a bucket's name must follow, of letters, digits, '.', '_' and '-'; "
            "credentials are taken from the environment"
        )
    key = [bucket]
    for name in names:
        if name == "..":
            if len(key) == 1:
                raise UsageError(f"{protocol}://{bucket}: '..' leads out of the bucket")
            key.pop()
        elif name != ".":
            key.append(name)
    return "/".join(key)
