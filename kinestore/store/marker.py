"""The file that makes a folder a store."""

import json

from kinestore.store.errors import StoreError, UsageError, is_of_the_system
from kinestore.store.io.atomic import is_temporary
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import read_json

STORE_FORMAT = 1
STORE_MARKER = "kinestore.json"
_REMEDY = f'if the folder is a store, write {{"format": {STORE_FORMAT}}} into that file'


def check_marker(storage: Storage) -> None:
    """Raise StoreError if there is no store, or a newer or broken one."""
    marker = storage.address_of(STORE_MARKER)
    try:
        found = read_json(storage, STORE_MARKER).get("format")
    except FileNotFoundError:
        raise StoreError(
            f"{storage.address}: no store here; make one with `kinestore extract VIDEOS --store "
            f"{storage.address}`"
        ) from None
    except StoreError as error:
        if storage.local_root is not None and storage.kind() == "file":
            raise StoreError(f"{storage.address}: is a file; name the folder of a store") from None
        if is_of_the_system(error):
            raise
        raise StoreError(f"{error}; {_REMEDY}") from error
    if type(found) is not int:
        raise StoreError(f"{marker}: cannot be read (format={found!r} is not a number); {_REMEDY}")
    if found != STORE_FORMAT:
        raise StoreError(
            f"{storage.address}: store format {found}, but this version reads format "
            f"{STORE_FORMAT}; upgrade kinestore"
        )


def make_marker(storage: Storage) -> None:
    """Make a store of an empty or absent folder, unless it is one; else raise UsageError."""
    if storage.kind(STORE_MARKER) is not None:
        return
    free = storage.kind() in (None, "folder") and all(map(is_temporary, storage.names()))
    if free:
        storage.write_once(STORE_MARKER, json.dumps({"format": STORE_FORMAT}))
    elif storage.kind(STORE_MARKER) is None:  # no other job has just made the same store
        raise UsageError(f"{storage.address}: is there already and is not a store; name another")
