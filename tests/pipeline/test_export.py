"""What is exported is read back by other libraries, row for row."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from kinestore.pipeline.export import export
from kinestore.store import Embedding, Features, Store, UsageError, ViewSpec
from tests.helpers.stored import SPEC, clip, embedding

SEQUENCE = ViewSpec(extractor="sequence", shape=(3, 2), settings={})
LABELS = ["laufen 🏃", None, "跳ぶ", ""]
GROUPS = [None, "g1", "g1", None]
SPLITS = ["train", "test", None, None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    columns = zip("abcd", LABELS, GROUPS, SPLITS, strict=True)
    made.append_clips(
        [clip(c, label=label, group=g, split=s, uri=f"/v/ü{c}.avi") for c, label, g, s in columns]
    )
    made.append(SPEC, list("abcd"), [embedding(ord(c), 0.1) for c in "abcd"])
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    whole = Embedding(vector=frames, frame_index=np.arange(3), pts_s=np.zeros(3))
    made.append(SEQUENCE, list("abcd"), [whole] * 4)
    return made


def read(path: Path) -> dict[str, Any]:
    """The columns as other libraries see them; None again where there is none."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        column = table.column("features").combine_chunks()
        storage = column.storage if hasattr(column, "storage") else column
        shape = getattr(column.type, "shape", None) or [column.type.list_size]
        values = storage.flatten().to_numpy().reshape(len(table), *shape)
        views = table.schema.metadata[b"views"].decode().split(",")
        texts = {name: table.column(name).to_pylist() for name in table.column_names[:-1]}
        return {**texts, "features": values, "views": views}
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            columns = {
                name: data.asstr()[:].tolist() if h5py.check_string_dtype(data.dtype) else data[:]
                for name, data in file.items()
            }
            views = list(file.attrs["views"])
    else:
        with np.load(path, allow_pickle=False) as loaded:
            columns = {name: loaded[name] for name in loaded.files}
            views = columns.pop("views").tolist()
    for name in ("label", "group", "split"):
        has = columns.pop(f"has_{name}")
        columns[name] = [t if known else None for t, known in zip(columns[name], has, strict=True)]
    return {**columns, "views": views}


@pytest.mark.parametrize("suffix", [".parquet", ".h5", ".npz"])
@pytest.mark.parametrize(
    "features", [["vector"], ["vector", "sequence:mean"], ["sequence:sequence"]]
)
def test_what_goes_out_comes_back(
    suffix: str, features: list[str], store: Store, tmp_path: Path
) -> None:
    loaded = store.load(features)
    done = export(loaded, out=tmp_path / "deep" / f"x{suffix}")
    out = done.path
    assert (done.num_clips, done.num_missing) == (4, len(loaded.missing))
    assert done.to_json() == {"path": str(out), "clips": 4, "missing": len(loaded.missing)}
    assert [path.name for path in out.parent.iterdir()] == [out.name]  # nothing temporary is left
    found = read(out)
    assert list(found.pop("clip_id")) == list("abcd")
    assert found.pop("label") == LABELS
    assert found.pop("group") == GROUPS and found.pop("split") == SPLITS
    assert list(found.pop("uri")) == [f"/v/ü{c}.avi" for c in "abcd"]
    values = found.pop("features")
    assert values.dtype == np.float32 and np.array_equal(values, loaded.features)
    assert found == {"views": loaded.views}


def test_another_ending_or_a_folder_is_refused(store: Store, tmp_path: Path) -> None:
    loaded = store.load("vector")
    with pytest.raises(UsageError, match=r"x\.csv: must end in \.parquet, \.h5, \.npz"):
        export(loaded, out=tmp_path / "x.csv")
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(UsageError, match=r"x\.npz: is a folder; name a file"):
        export(loaded, out=tmp_path / "x.npz")


def test_a_text_that_the_format_would_cut_is_refused_and_the_old_file_stays(
    store: Store, tmp_path: Path
) -> None:
    store.append_clips([clip("a", label="cut\0off")])
    loaded = store.load("vector")
    for name in ("x.h5", "x.npz"):
        (tmp_path / name).write_text("old")
        with pytest.raises(UsageError, match=r"label 'cut\\x00off': holds a zero byte; export to"):
            export(loaded, out=tmp_path / name)
        assert (tmp_path / name).read_text() == "old"
    assert read(export(loaded, out=tmp_path / "x.parquet").path)["label"][0] == "cut\0off"


def test_an_export_that_breaks_leaves_no_trace(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    loaded: Features = store.load("vector")
    monkeypatch.setattr("numpy.savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export(loaded, out=tmp_path / "out" / "x.npz")
    assert list((tmp_path / "out").iterdir()) == []
