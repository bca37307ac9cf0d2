"""Snapshots: a named set of parts with their hashes, so that a result can be had again."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from kinestore.store import parts
from kinestore.store.errors import StoreError, UsageError
from kinestore.store.io.atomic import write_text
from kinestore.store.io.validated_read import read_json
from kinestore.store.records import Snapshot

MOST_BYTES = 1 << 28
"""Of a snapshot's file: some two million parts."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PART = re.compile(
    rf"(clips|failures|(views|frames)/\w[\w.+-]*@[0-9a-f]{{16}})/{parts.NAME.pattern}"
)
_HASH = re.compile(r"[0-9a-f]{64}")


def take(
    root: Path,
    name: str,
    found: Sequence[Path],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Snapshot:
    """Pin the parts that are there now as `snapshots/<name>.json`.

    Args:
        root: The store's folder.
        name: Letters, digits, '.', '_' and '-'.
        found: Its parts. Clips were listed last: a job commits them before their embeddings, so
            that the snapshot has every clip that it has an embedding of.
        on_progress: Told the parts hashed and the parts in all.

    Raises:
        UsageError: If the name cannot be one, or is that of another set of parts.
        StoreError: If a part has changed since it was written.
    """
    final = _path(root, name)
    pinned = {}
    for done, path in enumerate(found, start=1):
        pinned[path.relative_to(root).as_posix()] = _sound_digest(root, path)
        if on_progress is not None:
            on_progress(done, len(found))
    taken = Snapshot(name=name, parts=dict(sorted(pinned.items())))
    if not final.exists():
        described = {"format": 1, "parts": taken.parts}
        write_text(final, json.dumps(described, indent=0) + "\n")
    elif read(root, name) != taken:
        raise UsageError(
            f"{final}: is there already and pins other parts; choose another name or delete it"
        )
    return taken


def read(root: Path, name: str) -> Snapshot:
    """The snapshot of that name.

    Raises:
        UsageError: If there is none.
        StoreError: If its file is not one.
    """
    path = _path(root, name)
    try:
        described = read_json(path, most_bytes=MOST_BYTES)
    except FileNotFoundError:
        names = sorted(other.stem for other in path.parent.glob("*.json"))
        listed = ", ".join(names) or "no snapshot at all"
        raise UsageError(f"snapshot {name!r}: not in {root}, which has {listed}") from None
    pinned = described.get("parts")
    if described.get("format") != 1 or not isinstance(pinned, dict):
        raise StoreError(f"{path}: is not a snapshot of format 1; delete it")
    for part, hash_ in pinned.items():
        if not (_PART.fullmatch(part) and isinstance(hash_, str) and _HASH.fullmatch(hash_)):
            raise StoreError(f"{path}: pins {part!r}, which is no part with its hash; delete it")
    return Snapshot(name=name, parts=pinned)


def fault_of(path: Path, pinned: str) -> str | None:
    """What became of a pinned part: None when it has the same bytes still."""
    if not path.is_file():
        return "is gone"
    return None if parts.digest(path) == pinned else "has changed"


def _path(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"snapshot {name!r}: must be letters, digits, '.', '_' and '-', 100 at most, and begin "
            "with a letter or digit"
        )
    return root / "snapshots" / f"{name}.json"


def _sound_digest(root: Path, path: Path) -> str:
    found = parts.digest(path) if path.is_file() else ""
    if not path.stem.endswith(f"-{found[:16]}"):
        raise StoreError(
            f"{path}: is not what was written; run `kinestore verify {root} --repair`, then the "
            "same extract, and take the snapshot again"
        )
    return found
