"""Find the videos of a folder, a manifest or an address."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.store import Source, UsageError
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.storage import Storage

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".ogv", ".ts", ".webm", ".wmv"}
)
MANIFEST_SUFFIXES = (".csv", ".parquet", ".txt")
KNOWN_COLUMNS = ("video", "label", "group", "split")
MAX_MANIFEST_ROWS = 50_000_000


def find_videos(videos: str | Path) -> list[Source]:
    """List the videos of a folder, a manifest or a single file, in a stable order.

    Args:
        videos: A folder (the label of a video in a subfolder is that folder's name), a manifest,
            or one video. A manifest is a .txt file with a path on each line, or a .csv or .parquet
            file with a column `video` and optionally `label`, `group`, `split` and other columns.
            Paths are relative to the manifest. Folder, manifest and videos may also be `file://`,
            `s3://` or `gs://` addresses.

    Returns:
        One source for each distinct path.

    Raises:
        UsageError: If nothing is there, the manifest cannot be read, or it contradicts itself.
    """
    storage = open_storage(videos)
    address, kind = storage.address, storage.kind()
    if kind == "folder":
        found = _from_folder(storage)
    elif kind in (None, "broken link"):
        raise UsageError(f"{address}: no such folder, manifest or video")
    elif _suffix(address) in MANIFEST_SUFFIXES:
        found = [_source(row, storage) for row in _manifest_rows(storage)]
    else:
        found = [Source(uri=storage.uri())]
    if not found:
        listed = " ".join(sorted(VIDEO_SUFFIXES))
        raise UsageError(f"{address}: names no video (looked for {listed})")
    return _distinct(found, address)


def _distinct(found: list[Source], address: str) -> list[Source]:
    """Drop repeated lines; two different lines for one video are an error."""
    by_uri: dict[str, Source] = {}
    for source in found:
        if by_uri.setdefault(source.uri, source) != source:
            raise UsageError(f"{address}: names {source.uri} twice, with different columns")
    return list(by_uri.values())


def _from_folder(folder: Storage) -> list[Source]:
    names = sorted((n for n in folder.walk() if _suffix(n) in VIDEO_SUFFIXES), key=PurePosixPath)
    return [
        Source(uri=folder.uri(name), label=PurePosixPath(name).parent.name or None)
        for name in names
    ]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _manifest_rows(manifest: Storage) -> Iterable[Mapping[str, str | None]]:
    address = manifest.address
    try:
        if _suffix(address) == ".parquet":
            return _parquet_rows(manifest)
        with io.TextIOWrapper(manifest.open(), encoding="utf-8-sig", newline="") as handle:
            if _suffix(address) == ".txt":
                return [{"video": line.strip()} for line in handle if line.strip()]
            reader = csv.DictReader(handle, strict=True)
            rows: list[Mapping[str, str | None]] = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise UsageError(f"{address}: cannot be read as a manifest ({error})") from error
    _require_video_column(columns, address)
    if ragged := next((n for n, row in enumerate(rows, 2) if None in row), None):
        more = f"more fields than the header's {len(columns)}"
        raise UsageError(f"{address}: line {ragged} has {more}")
    return rows


def _parquet_rows(file: Storage) -> list[Mapping[str, str | None]]:
    with pq.ParquetFile(file.parquet_source()) as manifest:
        num_rows = manifest.metadata.num_rows
        if num_rows > MAX_MANIFEST_ROWS:
            raise UsageError(f"{file.address}: {num_rows} rows are more than a manifest")
        _require_video_column(manifest.schema_arrow.names, file.address)
        table = manifest.read()
    rows: list[Mapping[str, str | None]] = [
        {name: None if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    ]
    return rows


def _require_video_column(columns: list[str], address: str) -> None:
    if "video" not in columns:
        listed = ", ".join(columns) or "none"
        raise UsageError(f"{address}: has no column 'video' (its columns are: {listed})")


def _source(row: Mapping[str, str | None], manifest: Storage) -> Source:
    video = row["video"]
    if not video:
        raise UsageError(f"{manifest.address}: a row names no video: {dict(row)}")
    return Source(
        uri=_located(video, manifest),
        label=row.get("label") or None,
        group=row.get("group") or None,
        split=row.get("split") or None,
        extra={name: value or "" for name, value in row.items() if name not in KNOWN_COLUMNS},
    )


def _located(video: str, manifest: Storage) -> str:
    """Return a row's URI; it has an address, or a path, absolute or relative to the manifest."""
    try:
        named = open_storage(video)
        if named.local_root is None or named.local_root.is_absolute():
            return named.uri()
        if manifest.local_root is not None:
            return open_storage(manifest.local_root.parent / named.local_root).uri()
        return open_storage(f"{manifest.address.rpartition('/')[0]}/{video}").uri()
    except UsageError as error:
        raise UsageError(f"{manifest.address}: {error}") from error
