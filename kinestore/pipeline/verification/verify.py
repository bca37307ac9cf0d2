"""Verification of a store, and removal of what is broken.

Nothing is trusted: each part's bytes are hashed, and read under its schema. A repair removes only
what the next extraction makes again, and never a file that lies outside of the store.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from kinestore.pipeline.verification.findings import (
    DROPPED,
    HARMLESS,
    REFILLED,
    Finding,
    VerifyReport,
)
from kinestore.progress import Progress, no_progress
from kinestore.store.errors import KinestoreError, StoreError, is_of_the_system
from kinestore.store.frames import read_frames_part
from kinestore.store.io.atomic import is_temporary
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import read_part
from kinestore.store.join_cache import CACHE_FOLDER, cache_fault
from kinestore.store.marker import STORE_MARKER
from kinestore.store.parts import HDF5, MAX_NUMBER, PARQUET, PART_NAME, ROOM, part_digest
from kinestore.store.records import FramesSpec, ViewSpec
from kinestore.store.schema import CLIPS, FAILURES, SPEC_FILES, read_spec, spec_file, view_schema
from kinestore.store.snapshot import list_snapshots, part_fault, read_snapshot
from kinestore.store.store import Store

_COLUMNS = ("clip_id", "uri")
_READ_BY_NAME = (STORE_MARKER, "summary.json", "job.json")

_AnySpec = TypeVar("_AnySpec", ViewSpec, FramesSpec)
_ReadPart = Callable[[Storage, str], pa.Table]


def verify(
    path: str | Path,
    *,
    repair: bool = False,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Check every part, view and snapshot, and search for files that do not belong.

    Args:
        path: The store's folder.
        repair: Remove what is broken, so that the next extraction makes exactly those rows again.
        progress: Called after each part.

    Raises:
        StoreError: If there is no store or it is of another format; nothing is changed then.
    """
    store = Store(path)
    check = _Check(store=store, progress=progress)
    check.total = sum(len(check.files(folder)) for folder in check.folders())
    # A job commits clips before embeddings: read the other way, its rows are not taken for orphans.
    rows_of = check.views() | check.frames()
    check.parts("failures", _reader(FAILURES))
    check.compare(rows_of, check.parts("clips", _reader(CLIPS)))
    check.snapshots()
    check.caches()
    check.leftovers()
    dropped: list[str] = []
    left = check.findings
    if repair:
        dropped, left = _drop_broken(store.storage, check.findings)
    return VerifyReport(
        num_parts=check.done,
        findings=tuple(check.findings),
        dropped=tuple(dropped),
        sound=all(finding.kind in HARMLESS for finding in left),
    )


@dataclass
class _Check:
    """The state of a verification."""

    store: Store
    progress: Progress
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    done: int = 0
    total: int = 0

    @property
    def storage(self) -> Storage:
        return self.store.storage

    def note(self, name: str, kind: str, message: str) -> None:
        message = message.removeprefix(f"{self.storage.address_of(name)}: ")
        self.findings.append(Finding(path=name, kind=kind, message=message))

    def folders(self) -> list[str]:
        return ["clips", "failures", *self.within("views"), *self.within("frames")]

    def within(self, kind: str) -> list[str]:
        names = sorted(f"{kind}/{name}" for name in self.storage.names(kind))
        return [name for name in names if self.storage.kind(name) == "folder"]

    def files(self, folder: str) -> list[str]:
        """List the files among a folder's parts, whether their names are right or not."""
        suffix = HDF5 if folder.startswith("frames/") else PARQUET
        names = (n for n in self.storage.names(folder) if n.endswith(suffix) and n[0] != ".")
        return [f"{folder}/{name}" for name in names]

    def parts(self, folder: str, read: _ReadPart) -> list[pa.Table]:
        """Check the parts of one folder, and return some columns of the sound ones, in order."""
        sound = []
        for name in sorted(self.files(folder), key=lambda name: (len(name), name)):
            try:
                table = self._sound_part(name, read)
                sound.append(table.select([n for n in table.column_names if n in _COLUMNS]))
            except (StoreError, OSError) as error:
                kind = "unreadable" if is_of_the_system(error) else "broken-part"
                is_part = PART_NAME.fullmatch(name.rpartition("/")[2])
                self.note(name, kind if is_part else "not-a-part", str(error))
            self.done += 1
            self.progress("checking parts", self.done, self.total)
        return sound

    def _sound_part(self, name: str, read: _ReadPart) -> pa.Table:
        named = PART_NAME.fullmatch(name.rpartition("/")[2])
        if named is None:
            suffix = HDF5 if name.endswith(HDF5) else PARQUET
            raise StoreError(f"not the name of a part (NNNNN-<hash>{suffix}); move it away")
        kind = self.storage.kind(name)
        if kind != "file":
            raise StoreError("a link to nothing" if kind == "broken link" else "not a regular file")
        self.digests[name] = found = part_digest(self.storage, name)
        if found[:16] != named[2]:
            raise StoreError(f"its bytes have changed: their hash is {found[:16]} now")
        if int(named[1]) > MAX_NUMBER - ROOM:
            raise StoreError(f"its number, {named[1]}, leaves no room for other parts")
        return read(self.storage, name)

    def views(self) -> dict[str, set[str]]:
        """Check each view, and return the clip_ids of its sound parts, by its folder."""
        rows_of = {}
        for folder in self.within("views"):
            if spec := self._spec(folder, ViewSpec):
                read = _reader(view_schema(spec), ["clip_id", "embedding"])
                rows_of[folder] = _values(self.parts(folder, read), "clip_id")
        return rows_of

    def frames(self) -> dict[str, set[str]]:
        """Check each folder of frames; returns the same as `views`."""
        rows_of = {}
        for folder in self.within("frames"):
            if spec := self._spec(folder, FramesSpec):
                found = self.parts(folder, partial(_read_clips_of_frames, spec=spec))
                rows_of[folder] = _values(found, "clip_id")
        return rows_of

    def _spec(self, folder: str, spec_type: type[_AnySpec]) -> _AnySpec | None:
        marker, num_parts = spec_file(folder), len(self.files(folder))
        if not (num_parts or self.storage.kind(marker)):
            return None  # a job was killed while it made the folder
        try:
            return read_spec(self.storage, folder, spec_type)
        except StoreError as error:
            if is_of_the_system(error):
                self.note(marker, "unreadable", str(error))
            else:
                self.note(marker, "broken-view", f"{error}, which is {num_parts} parts")
            return None

    def compare(self, rows_of: dict[str, set[str]], sources: list[pa.Table]) -> None:
        """Find rows without a clip, and current clips without a row."""
        newest: dict[str, str] = {}
        for part in sources:
            columns = (part.column(name).to_pylist() for name in ("uri", "clip_id"))
            newest.update(zip(*columns, strict=True))
        known, clips = _values(sources, "clip_id"), set(newest.values())
        for folder, rows in rows_of.items():
            if orphans := len(rows - known):
                what = "embeddings" if folder.startswith("views/") else "clips of frames"
                message = (
                    f"{orphans} {what} are of clips that no sound part of clips has; the same "
                    "extract brings those back without computing anything again"
                )
                self.note(folder, "orphan-rows", message)
            if missing := len(clips - rows):
                self.note(folder, "missing-rows", f"lacks {missing} of {len(clips)} clips")

    def snapshots(self) -> None:
        """Check that each snapshot can still be read."""
        for name in list_snapshots(self.storage):
            file = f"snapshots/{name}.json"
            try:
                pinned = read_snapshot(self.storage, name).parts
            except KinestoreError as error:
                self.note(file, "broken-snapshot", str(error))
                continue
            lost = [part for part, hash_ in pinned.items() if self._is_lost(part, hash_)]
            if lost:
                message = (
                    f"pins {len(lost)} parts that are gone or have changed, such as {lost[0]}; put "
                    "them back from a copy, or delete the snapshot"
                )
                self.note(file, "broken-snapshot", message)

    def _is_lost(self, part: str, pinned: str) -> bool:
        if part in self.digests:
            return self.digests[part] != pinned
        return part_fault(self.storage, part, pinned) is not None

    def caches(self) -> None:
        """Check cached joins and layouts; in an object store, nothing reads them."""
        root = self.storage.local_root
        for path in sorted((root / CACHE_FOLDER).glob("*.h5")) if root else ():
            if fault := cache_fault(path, self.store.view):
                self.note(f"{CACHE_FOLDER}/{path.name}", *fault)

    def leftovers(self) -> None:
        """Find files that no job is writing and that are not part of a store."""
        for name in sorted(self.storage.walk()):
            if name.endswith("/"):
                self.note(name, "unreadable", "the folder cannot be read")
            elif is_temporary(name):
                if self.storage.is_abandoned(name):
                    self.note(name, "temporary-file", "the job that wrote it is gone")
            elif not _belongs(name):
                self.note(name, "unknown-file", "not part of a store; nothing reads it")


def _drop_broken(storage: Storage, findings: Sequence[Finding]) -> tuple[list[str], list[Finding]]:
    """Remove what can be removed, and return its names and the findings that are left."""
    dropped, left = [], []
    for finding in findings:
        doomed = [finding.path] if finding.kind in DROPPED else []
        left.append(finding)
        with contextlib.suppress(OSError):  # it stays, and so does all of its view
            if finding.kind == "broken-view":
                folder = finding.path.rpartition("/")[0]
                inside = sorted(filter(PART_NAME.fullmatch, storage.names(folder)))
                doomed += [f"{folder}/{name}" for name in inside]
                for name in doomed[1:]:
                    part_digest(storage, name)  # what cannot be read to its end may be sound
            for name in filter(storage.kind, doomed):
                if storage.remove(name):
                    dropped.append(name)
            if finding.kind in DROPPED | REFILLED and not any(map(storage.kind, doomed)):
                left.pop()
    return dropped, left


def _belongs(name: str) -> bool:
    """Whether a store reads a file of this name."""
    folder, _, base = name.rpartition("/")
    kind, _, inside = folder.partition("/")
    if name in _READ_BY_NAME or (folder == "snapshots" and base.endswith(".json")):
        return True
    if kind in SPEC_FILES and "/" not in inside and inside:
        suffix = HDF5 if kind == "frames" else PARQUET
        return base == SPEC_FILES[kind] or (base.endswith(suffix) and base[0] != ".")
    suffixes = {"clips": PARQUET, "failures": PARQUET, CACHE_FOLDER: HDF5}
    return folder in suffixes and base.endswith(suffixes[folder]) and base[0] != "."


def _values(parts: list[pa.Table], column: str) -> set[str]:
    return {value for part in parts for value in part.column(column).to_pylist()}


def _reader(schema: pa.Schema, columns: list[str] | None = None) -> _ReadPart:
    return lambda storage, name: read_part(storage, name, schema, columns)


def _read_clips_of_frames(storage: Storage, name: str, *, spec: FramesSpec) -> pa.Table:
    with storage.local_copy(name) as here:
        try:
            clip_ids = read_frames_part(here, spec).clip_ids
        except StoreError as error:
            message = str(error).replace(str(here), storage.address_of(name))
            raise StoreError(message) from error
    return pa.table({"clip_id": pa.array(clip_ids, pa.string())})
