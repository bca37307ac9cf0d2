"""Formats of embeddings: functions that write rows, open them, read all, and read some."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

COLUMNS = 2816

Array = Any


class Contender(NamedTuple):
    """Functions of one library.

    Attributes:
        write: From a path and what `prepare` gave, to a file or folder there.
        open: From the path to what `read` and `take` want.
        read: All rows as a new array.
        take: Some rows as a new array.
        prepare: From the array to what is written; not timed.
    """

    write: Callable[[Path, Any], None]
    open: Callable[[Path], Any]
    read: Callable[[Any], Array]
    take: Callable[[Any, Array], Array]
    prepare: Callable[[Array], Any] = lambda array: array


def _ids(rows: int) -> list[str]:
    return [f"{row:032x}" for row in range(rows)]


def _spec(array: Array) -> Any:
    from kinestore.store import ViewSpec

    return ViewSpec(extractor="bench", shape=(COLUMNS,), settings={}, dtype=str(array.dtype))


def _table(array: Array) -> Any:
    from kinestore.store.schema import embeddings_to_table

    return embeddings_to_table(_spec(array), _ids(len(array)), array)


def _plain_table(array: Array) -> Any:
    return _table(array).select(["clip_id", "embedding"])


def _rows_of(table: Any) -> Array:
    column = table.column("embedding").combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), COLUMNS)


def _store_write(path: Path, array: Array) -> None:
    from kinestore.store import Store

    Store.create(path).append(_spec(array), _ids(len(array)), array)


def _store_open(path: Path) -> Array:
    from kinestore.store import Store
    from tests.helpers.stored import clip

    store = Store(path)
    if not len(store.clips()):
        store.append_clips([clip(clip_id) for clip_id in store.view("bench").clip_ids()])
    return store.load("bench", dtype=store.view("bench").spec.dtype).features


def _parquet_write(path: Path, table: Any) -> None:
    import_module("pyarrow.parquet").write_table(table, path)


def _parquet_write_alike(path: Path, table: Any) -> None:
    names = [name for name in table.column_names if name != "embedding"]
    compress = {**dict.fromkeys(names, "ZSTD"), "embedding": "NONE"}
    pq = import_module("pyarrow.parquet")
    pq.write_table(table, path, compression=compress, use_dictionary=names)


def _parquet_open(path: Path) -> Any:
    return import_module("pyarrow.dataset").dataset(path)


def _parquet_read(dataset: Any) -> Array:
    return _rows_of(dataset.to_table(columns=["embedding"]))


def _parquet_take(dataset: Any, rows: Array) -> Array:
    return _rows_of(dataset.take(rows, columns=["embedding"]))


def _hdf5_write(path: Path, array: Array, **options: Any) -> None:
    with import_module("h5py").File(path, "w") as file:
        file.create_dataset("features", data=array, **options)


def _hdf5_open(path: Path) -> Any:
    return import_module("h5py").File(path, "r")["features"]


def _lance_write(path: Path, table: Any) -> None:
    import_module("lance").write_dataset(table, str(path))


def _lance_open(path: Path) -> Any:
    return import_module("lance").dataset(str(path))


def _lance_take(dataset: Any, rows: Array) -> Array:
    return _rows_of(dataset.take(rows.tolist(), columns=["embedding"]))


def _safetensors_open(path: Path) -> Any:
    return import_module("safetensors.torch").load_file(path)["features"]


def _huggingface_prepare(array: Array) -> Any:
    datasets = import_module("datasets")
    return datasets.Dataset(_plain_table(array))


def _huggingface_open(path: Path) -> Any:
    return import_module("datasets").load_from_disk(str(path)).with_format("numpy")


OURS, MAP, LANCE = "this store", "numpy map", "Lance"
PLAIN, ALIKE = "Parquet, defaults", "Parquet, as this store"
CONTENDERS = {
    OURS: Contender(
        write=_store_write,
        open=_store_open,
        read=np.array,
        take=lambda features, rows: features[rows],
    ),
    MAP: Contender(
        write=np.save,
        open=lambda path: np.load(path, mmap_mode="r"),
        read=np.array,
        take=lambda features, rows: np.asarray(features[rows]),
    ),
    "h5py, contiguous": Contender(
        write=_hdf5_write,
        open=_hdf5_open,
        read=lambda dataset: dataset[:],
        take=lambda dataset, rows: dataset[rows],
    ),
    "h5py, chunked": Contender(
        write=lambda path, array: _hdf5_write(path, array, chunks=(1, COLUMNS)),
        open=_hdf5_open,
        read=lambda dataset: dataset[:],
        take=lambda dataset, rows: dataset[rows],
    ),
    PLAIN: Contender(
        write=_parquet_write,
        open=_parquet_open,
        read=_parquet_read,
        take=_parquet_take,
        prepare=_table,
    ),
    ALIKE: Contender(
        write=_parquet_write_alike,
        open=_parquet_open,
        read=_parquet_read,
        take=_parquet_take,
        prepare=_table,
    ),
    LANCE: Contender(
        write=_lance_write,
        open=_lance_open,
        read=_parquet_read,
        take=_lance_take,
        prepare=_plain_table,
    ),
    "safetensors": Contender(
        write=lambda path, array: import_module("safetensors.numpy").save_file(
            {"features": array}, path
        ),
        open=_safetensors_open,
        read=lambda tensor: tensor.clone().numpy(),
        take=lambda tensor, rows: tensor[rows].numpy(),
    ),
    "HF datasets": Contender(
        write=lambda path, dataset: dataset.save_to_disk(str(path)),
        open=_huggingface_open,
        read=lambda dataset: np.array(dataset[:]["embedding"]),
        take=lambda dataset, rows: dataset[rows]["embedding"],
        prepare=_huggingface_prepare,
    ),
}
NEEDS = {LANCE: "lance", "safetensors": "safetensors", "HF datasets": "datasets"}
