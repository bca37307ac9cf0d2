"""Find the videos of a folder, a manifest or an address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinestore.pipeline.notes import shown
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.labels import Values
from kinestore.pipeline.video.manifest import MANIFEST_SUFFIXES, read_manifest
from kinestore.pipeline.video.split_words import split_meaning
from kinestore.pipeline.video.suffixes import is_video_name, suffix_of
from kinestore.pipeline.video.walk_folder import Listing, list_folder
from kinestore.store import KinestoreError, Source, UsageError
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.storage import Storage

_OTHER_FILES = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "an archive or a spreadsheet",
    b"\x1f\x8b": "a compressed file",
    b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file",
    b"Rar!": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"\x80\x04": "a pickle",
}
"""First bytes of files that are no videos, but that people give instead of a manifest."""


@dataclass(frozen=True, kw_only=True)
class FoundVideos:
    """The videos that a user named, and what was left out or could not be looked at.

    Attributes:
        sources: One for each distinct path, in a stable order.
        notes: Sentences for the user: what was left out, or read in another way than written.
        unreadable: What could not be looked at, by its URI.
        folders: URIs of the folders that were listed.
        left_out: Number of files and folders that were left out, by the reason.
        split_folders: Whether the splits are names of folders.
    """

    sources: list[Source]
    notes: Sequence[str] = ()
    unreadable: Mapping[str, VideoError] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    left_out: Mapping[str, int] = field(default_factory=dict)
    split_folders: bool = False


def find_videos(videos: str | Path) -> FoundVideos:
    """List the videos of a folder, a manifest or a single file, in a stable order.

    Args:
        videos: A folder (the label of a video in a subfolder is that folder's name; folders such as
            train, val and test over them are splits), a manifest, or one video. A manifest is a
            .txt file with a path on each line, or a .csv, .tsv or .parquet file with a column
            `video` and optionally `label`, `group`, `split` and other columns. Paths are relative
            to the manifest. Folder, manifest and videos may also be `file://`, `s3://` or `gs://`
            addresses.

    Raises:
        UsageError: If nothing is there, the manifest cannot be read, or it contradicts itself.
        KinestoreError: If the system cannot read the folder or file.
    """
    storage = open_storage(videos)
    address = storage.address
    try:
        kind = storage.kind()
        if kind == "folder":
            found = _from_folder(storage, list_folder(storage))
        elif kind in (None, "broken link"):
            raise UsageError(f"{address}: no such folder, manifest or video")
        elif suffix_of(address) in MANIFEST_SUFFIXES:
            sources, notes = read_manifest(storage)
            found = FoundVideos(sources=sources, notes=notes)
        else:
            _check_single(storage)
            found = FoundVideos(sources=[Source(uri=storage.uri())])
    except OSError as error:
        raise KinestoreError(f"{address}: cannot be read ({error.strerror or error})") from error
    if not found.sources and not found.unreadable:
        why = "".join(f"; {note.removeprefix(address + ': ')}" for note in found.notes)
        raise UsageError(f"{address}: names no video{why}")
    return found


def _from_folder(folder: Storage, listing: Listing) -> FoundVideos:
    labels = Values("label")
    has_splits, split_notes = _split_folders(folder, listing.videos)
    sources = []
    for name in listing.videos:
        parents = [part for part in name.split("/")[:-1] if part]
        split = parents.pop(0) if has_splits else None
        label = labels.clean(parents[-1]) if parents else None
        sources.append(Source(uri=folder.uri(name), label=label, split=split))
    unreadable = {folder.uri(name): error for name, error in listing.unreadable.items()}
    return FoundVideos(
        sources=sources,
        notes=[
            *_left_out(folder, listing),
            *split_notes,
            *labels.notes(folder.address),
        ],
        unreadable={uri: _unlisted(uri, error) for uri, error in unreadable.items()},
        folders=frozenset(map(folder.uri, listing.folders)),
        left_out={
            "hidden": len(listing.hidden),
            "not_a_video_by_suffix": listing.others.total(),
            "link_to_a_folder_read_already": len(listing.repeated),
        },
        split_folders=has_splits,
    )


def _split_folders(folder: Storage, videos: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether the first folders are splits, and a note where they are or might be."""
    first = {name.partition("/")[0] if "/" in name else "." for name in videos}
    splits = {name for name in first if split_meaning(name)}
    if len(splits) < 2 or "train" not in map(split_meaning, splits):
        return False, _perhaps_splits(folder, videos)
    listed, others = some_names(sorted(splits)), sorted(first - splits)
    if others:
        beside = f"since videos also lie beside them, in {some_names(others)}"
        return False, [f"{folder.address}: its folders {listed} are not read as splits, {beside}"]
    return True, [f"{folder.address}: its folders {listed} are read as splits"]


def _perhaps_splits(folder: Storage, videos: Sequence[str]) -> list[str]:
    """Return a note where several folders have class folders of one name, as splits have."""
    tops: dict[str, set[str]] = {}
    for name in videos:
        if name.count("/") == 2:
            top, label, _ = name.split("/")
            tops.setdefault(label, set()).add(top)
    label, shared = max(tops.items(), key=lambda item: len(item[1]), default=("", set[str]()))
    if len(shared) < 2:
        return []
    return [
        f"{folder.address}: its folders {some_names(sorted(shared))} have a class folder "
        f"{shown(label)} each, and are not read as splits; if they are, name them train and test"
    ]


def _unlisted(uri: str, error: OSError) -> VideoError:
    return VideoError("unreadable-folder", f"{uri}: cannot be looked at ({error.strerror})")


def _left_out(folder: Storage, listing: Listing) -> list[str]:
    notes = []
    where = folder.address
    if hidden := listing.hidden:
        notes.append(
            f"{where}: hidden files and folders, and those of the system, are left out: "
            f"{some_names(hidden)}"
        )
    if repeated := listing.repeated:
        notes.append(
            f"{where}: links to a folder that is read by another name, or that holds this one, "
            f"are left out: {some_names(repeated)}"
        )
    if others := listing.others:
        listed = ", ".join(f"{s or 'no suffix'} {n}" for s, n in others.most_common(8))
        notes.append(
            f"{where}: files that are no videos by their suffix, and are left out: "
            f"{others.total()} ({listed})"
        )
    return notes


def some_names(names: Sequence[str], most: int = 5) -> str:
    """Return some names in quotes, and the number of the others."""
    listed = ", ".join(map(shown, sorted(names)[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"


def _check_single(file: Storage) -> None:
    """Refuse text, tables and archives, which are hardly meant as a video."""
    if file.kind() != "file" or is_video_name(file.address):
        return
    with file.open() as handle:
        start = handle.read(4096)
    what = next((name for mark, name in _OTHER_FILES.items() if start.startswith(mark)), None)
    if what is None and start and b"\0" not in start and _is_text(start):
        what = "text"
    if what is not None:
        listed = ", ".join(MANIFEST_SUFFIXES)
        raise UsageError(
            f"{file.address}: is {what}, no video; a manifest's name must end in one of {listed}"
        )


def _is_text(start: bytes) -> bool:
    try:
        start[:-3].decode()
    except UnicodeDecodeError:
        return False
    return True
