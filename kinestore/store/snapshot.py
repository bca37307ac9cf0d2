"""Snapshots: a named set of parts with their hashes, so that a result can be had again."""

import json
import re
from collections.abc import Sequence

from kinestore.progress import Progress, no_progress
from kinestore.store.errors import StoreError, UsageError
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import read_json
from kinestore.store.parts import PART_NAME, part_digest
from kinestore.store.records import Snapshot

_MAX_BYTES = 1 << 26
"""Of a snapshot's file: about 400,000 parts."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PART = re.compile(
    rf"(clips|failures|(views|frames)/\w[\w.+-]*@[0-9a-f]{{16}})/{PART_NAME.pattern}"
)
_HASH = re.compile(r"[0-9a-f]{64}")


def pin_parts(
    storage: Storage,
    name: str,
    parts: Sequence[str],
    *,
    progress: Progress = no_progress,
) -> Snapshot:
    """Pin the parts that are there now as `snapshots/<name>.json`.

    Args:
        storage: The store's.
        name: Letters, digits, '.', '_' and '-'.
        parts: Their full names. Clips were listed last: a job commits them before their
            embeddings, so that the snapshot has every clip that it has an embedding of.
        progress: Called after each part.

    Raises:
        UsageError: If the name is not allowed, or pins other parts already.
        StoreError: If a part has changed since it was written.
    """
    final = _file(name)
    pinned = {}
    for done, part in enumerate(parts, start=1):
        pinned[part] = _checked_digest(storage, part)
        progress("hashing parts", done, len(parts))
    taken = Snapshot(name=name, parts=dict(sorted(pinned.items())))
    if storage.kind(final) is None:
        described = {"format": 1, "parts": taken.parts}
        text = json.dumps(described, indent=0) + "\n"
        if len(text) > _MAX_BYTES:
            raise StoreError(f"{storage.address}: has too many parts for a snapshot")
        storage.write(final, text)
    elif read_snapshot(storage, name) != taken:
        raise UsageError(
            f"{storage.address_of(final)}: is there already and pins other parts; choose another "
            "name or delete it"
        )
    return taken


def read_snapshot(storage: Storage, name: str) -> Snapshot:
    """Read the snapshot of that name.

    Raises:
        UsageError: If there is none.
        StoreError: If its file is not one.
    """
    file = _file(name)
    where = storage.address_of(file)
    try:
        described = read_json(storage, file, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        listed = ", ".join(list_snapshots(storage)) or "no snapshot at all"
        raise UsageError(
            f"snapshot {name!r}: not in {storage.address}, which has {listed}"
        ) from None
    pinned = described.get("parts")
    if described.get("format") != 1 or not isinstance(pinned, dict):
        raise StoreError(f"{where}: is not a snapshot of format 1; delete it")
    for part, hash_ in pinned.items():
        if not (_PART.fullmatch(part) and isinstance(hash_, str) and _HASH.fullmatch(hash_)):
            raise StoreError(f"{where}: pins {part!r}, which is no part with its hash; delete it")
    return Snapshot(name=name, parts=pinned)


def list_snapshots(storage: Storage) -> list[str]:
    """List the names of the snapshots."""
    files = sorted(storage.names("snapshots"))
    return [file.removesuffix(".json") for file in files if file.endswith(".json")]


def part_fault(storage: Storage, part: str, pinned: str) -> str | None:
    """Return what is wrong with a pinned part, or None if it has the same bytes still."""
    if storage.kind(part) != "file":
        return "is gone"
    return None if part_digest(storage, part) == pinned else "has changed"


def _file(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"snapshot {name!r}: must be letters, digits, '.', '_' and '-', 100 at most, and begin "
            "with a letter or digit"
        )
    return f"snapshots/{name}.json"


def _checked_digest(storage: Storage, part: str) -> str:
    found = part_digest(storage, part) if storage.kind(part) == "file" else ""
    if f"-{found[:16]}." not in part:
        raise StoreError(
            f"{storage.address_of(part)}: is not what was written; run `kinestore verify "
            f"{storage.address} --repair`, then the same extract, and take the snapshot again"
        )
    return found
