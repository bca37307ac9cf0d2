"""Find the videos of a folder, a manifest or an address."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.store import Source, UsageError
from kinestore.store.io.paths import as_path, for_arrow, is_remote

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
    path = as_path(videos)
    if path.is_dir():
        found = _from_folder(path)
    elif not path.exists():
        raise UsageError(f"{path}: no such folder, manifest or video")
    elif path.suffix.lower() in MANIFEST_SUFFIXES:
        found = [_source(row, path) for row in _manifest_rows(path)]
    else:
        found = [Source(uri=str(path.resolve()))]
    if not found:
        listed = " ".join(sorted(VIDEO_SUFFIXES))
        raise UsageError(f"{path}: names no video (looked for {listed})")
    return _distinct(found, path)


def _distinct(found: list[Source], path: Path) -> list[Source]:
    """Drop repeated lines; two different lines for one video are an error."""
    by_uri: dict[str, Source] = {}
    for source in found:
        if by_uri.setdefault(source.uri, source) != source:
            raise UsageError(f"{path}: names {source.uri} twice, with different columns")
    return list(by_uri.values())


def _from_folder(folder: Path) -> list[Source]:
    paths = sorted(path for path in _all_paths(folder) if path.suffix.lower() in VIDEO_SUFFIXES)
    return [
        Source(uri=str(path.resolve()), label=None if path.parent == folder else path.parent.name)
        for path in paths
    ]


def _all_paths(folder: Path) -> Iterable[Path]:
    if not is_remote(folder):
        return folder.rglob("*")
    return (as_path(f"{where}/{name}") for where, _, names in folder.walk() for name in names)


def _manifest_rows(path: Path) -> Iterable[Mapping[str, str | None]]:
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet_rows(path)
        with path.open(encoding="utf-8-sig", newline="") as handle:
            if path.suffix.lower() == ".txt":
                return [{"video": line.strip()} for line in handle if line.strip()]
            reader = csv.DictReader(handle, strict=True)
            rows: list[Mapping[str, str | None]] = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise UsageError(f"{path}: cannot be read as a manifest ({error})") from error
    _require_video_column(columns, path)
    if ragged := next((n for n, row in enumerate(rows, 2) if None in row), None):
        raise UsageError(f"{path}: line {ragged} has more fields than the header's {len(columns)}")
    return rows


def _parquet_rows(path: Path) -> list[Mapping[str, str | None]]:
    with pq.ParquetFile(for_arrow(path)) as manifest:
        if manifest.metadata.num_rows > MAX_MANIFEST_ROWS:
            raise UsageError(f"{path}: {manifest.metadata.num_rows} rows are more than a manifest")
        _require_video_column(manifest.schema_arrow.names, path)
        table = manifest.read()
    rows: list[Mapping[str, str | None]] = [
        {name: None if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    ]
    return rows


def _require_video_column(columns: list[str], path: Path) -> None:
    if "video" not in columns:
        listed = ", ".join(columns) or "none"
        raise UsageError(f"{path}: has no column 'video' (its columns are: {listed})")


def _source(row: Mapping[str, str | None], manifest: Path) -> Source:
    video = row["video"]
    if not video:
        raise UsageError(f"{manifest}: a row names no video: {dict(row)}")
    return Source(
        uri=str(_located(video, manifest)),
        label=row.get("label") or None,
        group=row.get("group") or None,
        split=row.get("split") or None,
        extra={name: value or "" for name, value in row.items() if name not in KNOWN_COLUMNS},
    )


def _located(video: str, manifest: Path) -> Path:
    """Return the path of a row: an address, an absolute path, or relative to the manifest."""
    try:
        if is_remote(manifest) and "://" not in video and not video.startswith("/"):
            return as_path(f"{manifest.parent}/{video}")
        path = as_path(video)
    except UsageError as error:
        raise UsageError(f"{manifest}: {error}") from error
    beside = not (is_remote(manifest) or is_remote(path))
    return (manifest.parent / path if beside else path).resolve()
