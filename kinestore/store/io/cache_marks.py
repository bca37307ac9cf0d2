"""Marks in the names of cached files, which show that this user made them, with these bytes.

A mark is a hash with a secret key. The key lies in the user's own folder for state, not in the
store: a user who sends a store cannot make marks.
"""

import functools
import hashlib
import hmac
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MARK = r"[0-9a-f]{8}-[0-9a-f]{32}"
"""Pattern of a mark: whose key it is, and the hash."""

_KEY_BYTES = 32
_BLOCK_BYTES = 16 << 20


def marked_name(path: Path, prefix: str) -> str:
    """Return the name that a finished file gets: `<prefix>-<mark>.h5`.

    Raises:
        OSError: If the user's key can be neither read nor made.
    """
    key = _user_key()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing leaves Python's lock
        begins = range(0, path.stat().st_size, _BLOCK_BYTES)
        blocks = pool.map(functools.partial(_block_hash, path), begins)
        content = b"".join([prefix.encode(), *blocks])
    return f"{prefix}-{_owner(key)}-{hmac.digest(key, content, 'sha256').hex()[:32]}.h5"


def mark_fault(path: Path) -> str | None:
    """Return why a cached file must not be read: "foreign" or "changed"; None if it may."""
    prefix, owner, _ = path.name.rsplit("-", 2)
    try:
        found = path.stat()
        if owner != _owner(_user_key()):
            return "foreign"
        state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        return None if _proved_name(path, prefix, state) == path.name else "changed"
    except OSError:
        return "foreign"


@functools.lru_cache(maxsize=256)
def _proved_name(path: Path, prefix: str, state: tuple[int, ...]) -> str:
    """Read a file once in each of its states."""
    return marked_name(path, prefix)


def _block_hash(path: Path, begin: int) -> bytes:
    with path.open("rb") as handle:
        handle.seek(begin)
        return hashlib.sha256(handle.read(_BLOCK_BYTES)).digest()


def _owner(key: bytes) -> str:
    return hashlib.sha256(b"owner" + key).hexdigest()[:8]


def _user_key() -> bytes:
    """The secret of this user, made at the first use."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = (given if given.is_absolute() else Path.home() / ".local" / "state") / "kinestore"
    path = folder / "cache-key"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=folder)  # for the user alone
        try:
            os.write(descriptor, os.urandom(_KEY_BYTES))
            os.close(descriptor)
            os.link(unfinished, path)
        except FileExistsError:  # another process was first
            pass
        finally:
            Path(unfinished).unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path}: is no key; delete it")
    return key
