"""Whether a store is sound, and what to drop where it is not.

Nothing is taken on trust: each part's bytes are hashed, and read under its schema. Repairing only
removes what the next extraction makes again, and never a file that lies outside the store.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from kinestore.store import frames, schema, snapshot
from kinestore.store import join_cache as cache
from kinestore.store.errors import StoreError
from kinestore.store.findings import TOLD, Finding, Report
from kinestore.store.io.atomic import is_abandoned, is_temporary, local_copy
from kinestore.store.io.paths import is_remote, walk
from kinestore.store.io.validated_read import read_part
from kinestore.store.parts import HDF5, NAME, PARQUET, digest
from kinestore.store.records import FramesSpec, ViewSpec
from kinestore.store.repair import repair as drop_broken
from kinestore.store.store import Store

_KEPT = ("clip_id", "uri")


def verify(
    path: str | Path,
    *,
    repair: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every part, view and snapshot, and look for what does not belong.

    Args:
        path: The store's folder.
        repair: Remove what is broken, so that the next extraction fills exactly those rows again.
        on_progress: Told the parts checked and the parts in all.

    Raises:
        StoreError: If there is no store or it is of another format; nothing is touched then.
    """
    root = Store(path).path
    check = _Check(root=root, tell=on_progress or (lambda done, total: None))
    check.total = sum(len(check.files(folder)) for folder in check.folders())
    # A job commits clips before embeddings: read the other way, its rows are not taken for orphans.
    rows_of = check.views() | check.frames()
    check.parts(root / "failures", _reader(schema.FAILURES))
    check.compare(rows_of, check.parts(root / "clips", _reader(schema.CLIPS)))
    check.snapshots()
    check.caches()
    check.leftovers()
    dropped: list[str] = []
    left = check.findings
    if repair:
        dropped, left = drop_broken(root, check.findings)
    return Report(
        num_parts=check.done,
        findings=tuple(check.findings),
        dropped=tuple(dropped),
        sound=all(finding.kind in TOLD for finding in left),
    )


@dataclass
class _Check:
    """What has been looked at so far."""

    root: Path
    tell: Callable[[int, int], None]
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    done: int = 0
    total: int = 0

    def note(self, path: Path, kind: str, message: str) -> None:
        where = path.relative_to(self.root).as_posix()
        message = message.removeprefix(f"{path}: ")
        self.findings.append(Finding(path=where, kind=kind, message=message))

    def folders(self) -> Iterator[Path]:
        yield from (self.root / "clips", self.root / "failures")
        yield from self.within("views")
        yield from self.within("frames")

    def within(self, name: str) -> list[Path]:
        return sorted(path for path in self.root.glob(f"{name}/*") if path.is_dir())

    def files(self, folder: Path) -> list[Path]:
        """What lies where the folder's parts do, under whatever name."""
        suffix = HDF5 if folder.parent == self.root / "frames" else PARQUET
        return [path for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")]

    def parts(self, folder: Path, read: Callable[[Path], pa.Table]) -> list[pa.Table]:
        """Check the parts of one folder.

        Returns:
            The columns `clip_id` and `uri` of those that are sound, oldest first.
        """
        sound = []
        for path in sorted(self.files(folder), key=lambda path: (len(path.name), path.name)):
            try:
                table = self._sound_part(path, read)
                sound.append(table.select([n for n in table.column_names if n in _KEPT]))
            except (StoreError, OSError) as error:
                kind = "unreadable" if _is_of_the_system(error) else "broken-part"
                self.note(path, kind if NAME.fullmatch(path.name) else "not-a-part", str(error))
            self.done += 1
            self.tell(self.done, self.total)
        return sound

    def _sound_part(self, path: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
        named = NAME.fullmatch(path.name)
        if named is None:
            raise StoreError(f"not the name of a part (NNNNN-<hash>{path.suffix}); move it away")
        if not path.is_file():
            raise StoreError("not a regular file" if path.exists() else "a link to nothing")
        found = digest(path)
        self.digests[path.relative_to(self.root).as_posix()] = found
        if found[:16] != named[2]:
            raise StoreError(f"its bytes have changed: their hash is {found[:16]} now")
        return read(path)

    def views(self) -> dict[Path, set[str]]:
        """Check each view.

        Returns:
            The clip_ids of its sound parts, by its folder.
        """
        rows_of = {}
        for folder in self.within("views"):
            spec = self._spec(folder / "view.json", ViewSpec)
            if spec is not None:
                read = _reader(schema.view_schema(spec), ["clip_id", "embedding"])
                found = self.parts(folder, read)
                rows_of[folder] = {clip for part in found for clip in _values(part, "clip_id")}
        return rows_of

    def frames(self) -> dict[Path, set[str]]:
        """The same for frames."""
        rows_of = {}
        for folder in self.within("frames"):
            spec = self._spec(folder / frames.MARKER, FramesSpec)
            if spec is not None:
                found = self.parts(folder, partial(_clips_of_frames, spec=spec))
                rows_of[folder] = {clip for part in found for clip in _values(part, "clip_id")}
        return rows_of

    def _spec(self, marker: Path, spec_type: type[schema.Spec]) -> schema.Spec | None:
        parts = len(self.files(marker.parent))
        if not (parts or marker.exists() or marker.is_symlink()):
            return None  # a job that was killed as it made the folder
        try:
            return schema.read_spec(marker, spec_type)
        except StoreError as error:
            kind = "unreadable" if _is_of_the_system(error) else "broken-view"
            self.note(marker, kind, f"{error}, which is {parts} parts")
            return None

    def compare(self, rows_of: dict[Path, set[str]], sources: list[pa.Table]) -> None:
        """Find rows whose clip was never there, and clips as they stand without one."""
        newest: dict[str, str] = {}
        known: set[str] = set()
        for part in sources:
            known.update(_values(part, "clip_id"))
            newest.update(zip(_values(part, "uri"), _values(part, "clip_id"), strict=True))
        clips = set(newest.values())
        for folder, rows in rows_of.items():
            if orphans := len(rows - known):
                what = "embeddings" if folder.parent.name == "views" else "clips of frames"
                message = (
                    f"{orphans} {what} are of clips that no sound part of clips has; the same "
                    "extract brings those back without computing anything again"
                )
                self.note(folder, "orphan-rows", message)
            if missing := len(clips - rows):
                message = f"lacks {missing} of {len(clips)} clips"
                self.note(folder, "missing-rows", message)

    def snapshots(self) -> None:
        """See whether each snapshot can still be read."""
        for path in sorted(self.root.glob("snapshots/*.json")):
            try:
                pinned = snapshot.read(self.root, path.stem).parts
            except StoreError as error:
                self.note(path, "broken-snapshot", str(error))
                continue
            lost = [part for part, hash_ in pinned.items() if self._is_lost(part, hash_)]
            if lost:
                message = (
                    f"pins {len(lost)} parts that are gone or have changed, such as {lost[0]}; put "
                    "them back from a copy, or delete the snapshot"
                )
                self.note(path, "broken-snapshot", message)

    def _is_lost(self, part: str, pinned: str) -> bool:
        if part in self.digests:
            return self.digests[part] != pinned
        return snapshot.fault_of(self.root / part, pinned) is not None

    def caches(self) -> None:
        """See whether what was joined is still so; nobody maps what lies in an object store."""
        if is_remote(self.root):
            return
        store = Store(self.root)
        for path in sorted((self.root / cache.FOLDER).glob("*.h5")):
            fault = cache.fault_of(path, store.view)
            if fault is not None:
                self.note(path, *fault)

    def leftovers(self) -> None:
        """Find files that no job is writing and that are no part of a store."""
        for folder, _, files in walk(self.root):
            for path in sorted(folder / name for name in files):
                inside = path.relative_to(self.root).as_posix()
                if is_temporary(path):
                    if is_abandoned(path):
                        self.note(path, "temporary-file", "the job that wrote it is gone")
                elif not _belongs(inside):
                    self.note(path, "unknown-file", "no part of a store; nothing reads it")


def _belongs(inside: str) -> bool:
    """Whether a file of this name was looked at, or is the store's marker."""
    folder, _, name = inside.rpartition("/")
    if inside in ("kinestore.json", "summary.json") or (
        folder == "snapshots" and name.endswith(".json")
    ):
        return True
    view = folder.startswith("views/") and folder.count("/") == 1
    if folder == cache.FOLDER and name.endswith(".h5") and not name.startswith("."):
        return True
    of_frames = folder.startswith("frames/") and folder.count("/") == 1
    if of_frames and (name == frames.MARKER or (name.endswith(HDF5) and not name.startswith("."))):
        return True
    holds_parts = view or folder in ("clips", "failures")
    is_part = name.endswith(".parquet") and not name.startswith(".")
    return (holds_parts and is_part) or (view and name == "view.json")


def _values(part: pa.Table, column: str) -> list[str]:
    values: list[str] = part.column(column).to_pylist()
    return values


def _reader(expected: pa.Schema, columns: list[str] | None = None) -> Callable[[Path], pa.Table]:
    return lambda path: read_part(path, expected, columns)


def _clips_of_frames(path: Path, spec: FramesSpec) -> pa.Table:
    with local_copy(path) as here:
        try:
            clip_ids = frames.read_part(here, spec).clip_ids
        except StoreError as error:
            raise StoreError(str(error).replace(str(here), str(path))) from error
    return pa.table({"clip_id": pa.array(clip_ids, pa.string())})


def _is_of_the_system(error: BaseException | None) -> bool:
    """Whether the machine is to blame, and not the file: a good part must not be dropped then."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            return not isinstance(error, FileNotFoundError)
        error = error.__cause__
    return False
