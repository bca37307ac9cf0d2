"""Joined features as one file for other programs: Parquet, HDF5 or npz.

Each holds the columns clip_id, label, group, split, uri and features (float32), and the names of
the views that were joined. Parquet has null for a clip without a label, group or split. HDF5 and
npz have no null: they hold "" there, and has_label, has_group and has_split (bool) mark the rows
that have one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.pipeline.replaceable import check_replaceable
from kinestore.store.errors import UsageError
from kinestore.store.features import Features
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import written_whole
from kinestore.store.io.mapped_array import write_hdf5


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file of exported features.

    Attributes:
        path: The file.
        num_clips: Its number of rows.
        num_missing: Clips left out because a view lacks them.
    """

    path: Path
    num_clips: int
    num_missing: int

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON values."""
        return {"path": str(self.path), "clips": self.num_clips, "missing": self.num_missing}


def export(features: Features, *, out: str | Path) -> Exported:
    """Write joined features to a file, atomically.

    Args:
        features: The result of `Store.load`, shape (N, D) or (N, T, D).
        out: A .parquet, .h5 or .npz file; an existing one is replaced.

    Raises:
        UsageError: If the file's name has another ending, or a text holds a zero byte, which HDF5
            and npz cannot store.
    """
    path = check_export_file(out)
    with written_whole(path) as unfinished:
        _WRITERS[path.suffix](features, unfinished)
    num_clips, num_missing = len(features.clip_ids), len(features.missing)
    return Exported(path=path, num_clips=num_clips, num_missing=num_missing)


def check_export_file(out: str | Path) -> Path:
    """Return the path of a file that `export` can write.

    Raises:
        UsageError: If it ends otherwise, is a folder, or is a file of a store or run.
    """
    path = local_path(out)
    if path.suffix not in _WRITERS:
        raise UsageError(f"{path}: must end in {', '.join(_WRITERS)}")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    check_replaceable(path)
    return path


def _texts(features: Features) -> dict[str, list[str | None]]:
    labels = [features.classes[n] if n >= 0 else None for n in features.labels.tolist()]
    return {
        "clip_id": list(features.clip_ids),
        "label": labels,
        "group": features.groups,
        "split": features.splits,
        "uri": list(features.uris),
    }


def _write_parquet(features: Features, path: Path) -> None:
    shape = features.features.shape[1:]
    values = pa.array(features.features.reshape(-1))
    column: pa.Array = pa.FixedSizeListArray.from_arrays(values, int(np.prod(shape)))
    if len(shape) > 1:
        kind = pa.fixed_shape_tensor(pa.float32(), shape)
        column = pa.ExtensionArray.from_storage(kind, column)
    columns = {name: pa.array(texts, pa.string()) for name, texts in _texts(features).items()}
    table = pa.table({**columns, "features": column})
    pq.write_table(table.replace_schema_metadata({"views": ",".join(features.views)}), path)


def _write_hdf5(features: Features, path: Path) -> None:
    columns = _columns(features)
    values = columns.pop("features")

    def describe(file: h5py.File) -> None:
        file.attrs["views"] = features.views
        for name, column in columns.items():
            if column.dtype.kind == "U":
                file.create_dataset(name, data=column.tolist(), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=column)

    fill = partial(np.copyto, src=values)
    write_hdf5(path, "features", values.shape, values.dtype, describe=describe, fill=fill)


def _write_npz(features: Features, path: Path) -> None:
    columns: Any = {"views": np.array(features.views), **_columns(features)}
    with path.open("wb") as handle:  # of a name without .npz, savez would make another
        np.savez(handle, **columns)


def _columns(features: Features) -> dict[str, NDArray[Any]]:
    """Plain arrays, none of objects, which would be pickled."""
    columns: dict[str, NDArray[Any]] = {}
    for name, texts in _texts(features).items():
        for text in texts:
            if text is not None and "\0" in text:
                raise UsageError(f"{name} {text!r}: holds a zero byte; export to .parquet")
        columns[name] = np.array([text or "" for text in texts], np.str_)
        if name in ("label", "group", "split"):
            columns[f"has_{name}"] = np.array([text is not None for text in texts])
    return {**columns, "features": features.features}


_WRITERS: dict[str, Callable[[Features, Path], None]] = {
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".npz": _write_npz,
}
