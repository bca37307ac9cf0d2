"""Parts and descriptions that nobody should trust: one typed sentence each, and little memory."""

import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestore.store import Store, StoreError, UsageError, ViewSpec
from kinestore.store.schema import CLIPS, FAILURES, view_schema
from tests.helpers.stored import SPEC, clip, embedding, view_folder

NAME = "00009-0123456789abcdef.parquet"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip("a"), clip("b")])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    return made


def rows(**columns: Any) -> pa.Table:
    """A part of the view with some columns replaced, or left out where they are None."""
    good: dict[str, Any] = {
        "clip_id": ["x", "y"],
        "embedding": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
        "frame_index": pa.array([[0], [1]], pa.list_(pa.int64())),
        "pts_s": pa.array([[0.0], [0.1]], pa.list_(pa.float64())),
        "caption": pa.array([None, None], pa.string()),
    }
    return pa.table({n: c for n, c in {**good, **columns}.items() if c is not None})


def test_the_part_that_the_others_are_made_from_is_good(store: Store) -> None:
    pq.write_table(rows(), view_folder(store) / NAME)
    assert store.views()[0].clip_ids() == {"a", "b", "x", "y"}


def longer(numbers: list[list[float]], size: int) -> pa.Array:
    return pa.array(numbers, pa.list_(pa.float32(), size))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(embedding=None), "column 'embedding' is missing"),
        (rows(embedding=longer([[1], [2]], 1)), r"'embedding' is fixed_size_list<.*>\[1\], not"),
        (rows(embedding=longer([[1, 2, 3]] * 2, 3)), r"'embedding' is fixed_size_list<.*>\[3\]"),
        (rows(embedding=["[1, 2]", "[3, 4]"]), "column 'embedding' is string, not fixed_size_list"),
        (rows(clip_id=[1, 2]), "column 'clip_id' is int64, not string"),
        (rows(clip_id=["x", None]), "column 'clip_id' lacks 1 values"),
        (rows(clip_id=["x", "x"]), "has 1 rows of a clip that it has already"),
        (rows(embedding=longer([[1, 2], [3, np.nan]], 2)), "values that are not finite"),
        (rows(embedding=longer([[1, 2], [3, np.inf]], 2)), "values that are not finite"),
        (rows(embedding=pa.array([[1, 2], None], pa.list_(pa.float32(), 2))), "lacks 1 values"),
        (
            rows(embedding=pa.array([[1, 2], [3, None]], pa.list_(pa.float32(), 2))),
            "values that are not finite",
        ),
        (rows(extra=[1, 2]), "column 'extra' is int64, not string"),
    ],
)
def test_a_part_of_a_view_that_is_no_such_thing_is_named(
    table: pa.Table, message: str, store: Store
) -> None:
    bad = view_folder(store) / NAME
    pq.write_table(table, bad)
    with pytest.raises(StoreError, match=f"{NAME}: .*{message}.*verify {store.path} --repair`"):
        store.load("vector")


def test_a_vector_of_another_length_behind_the_right_schema_is_refused(store: Store) -> None:
    honest = rows(embedding=pa.array([[1, 2], [3]], pa.list_(pa.float32())))
    claimed = pq.read_metadata(next(view_folder(store).glob("*.parquet"))).metadata
    bad = view_folder(store) / NAME
    schema = honest.schema.with_metadata({b"ARROW:schema": claimed[b"ARROW:schema"]})
    pq.write_table(honest.cast(schema), bad, store_schema=False)
    with pytest.raises(StoreError, match=NAME):
        store.load("vector")


@pytest.mark.parametrize("kind", ["clips", "failures", "views"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: b"", "cannot be read"),
        (lambda raw: b"PAR1 this is not parquet PAR1", "cannot be read"),
        (lambda raw: raw[: len(raw) // 2], "cannot be read"),
        (lambda raw: raw[:-4] + b"PARE", "cannot be read"),
        (lambda raw: raw.replace(b"clip_id", b"clip_i\xff"), "cannot be read"),
        (lambda raw: pickle.dumps({"clip_id": 1}), "cannot be read"),
    ],
)
def test_a_file_that_is_not_whole_parquet_is_named(
    kind: str, spoil: Callable[[bytes], bytes], message: str, store: Store
) -> None:
    schema = {"clips": CLIPS, "failures": FAILURES, "views": view_schema(SPEC)}[kind]
    folder = view_folder(store) if kind == "views" else store.path / kind
    folder.mkdir(exist_ok=True)
    pq.write_table(schema.empty_table(), folder / NAME)
    reads: dict[str, Callable[[], object]] = {
        "clips": store.clips,
        "failures": store.failures,
        "views": lambda: list(store.views()[0].blocks()),
    }
    read = reads[kind]
    read()
    (folder / NAME).write_bytes(spoil((folder / NAME).read_bytes()))
    with pytest.raises(StoreError, match=f"{NAME}: {message}.*verify .* --repair`"):
        read()


def varint(value: int) -> bytes:
    """A whole number as Thrift's compact protocol writes it: zigzag, seven bits a byte."""
    value, out = value * 2, b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def test_a_footer_that_claims_a_quintillion_rows_is_not_believed(store: Store) -> None:
    bad = store.path / "clips" / NAME
    table = pa.concat_tables([store.clips()] * 6172).slice(0, 12_343)
    pq.write_table(table, bad)
    raw = bad.read_bytes()
    begin = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    footer = raw[begin:-8].replace(varint(12_343), varint(2**60))
    assert footer != raw[begin:-8]
    bad.write_bytes(raw[:begin] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert pq.read_metadata(bad).num_rows == 2**60
    with pytest.raises(StoreError, match=f"{NAME}: claims {2**60} rows and .* --repair`"):
        store.clips()


def test_small_files_that_unfold_to_much_cost_little_memory(store: Store) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bad = store.path / "clips" / NAME
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 300_000])
    columns = {f.name: pa.repeat(pa.scalar(0).cast(f.type), 100_000) for f in CLIPS}
    pq.write_table(pa.table({**columns, "label": text}), bad, store_schema=False)
    assert bad.stat().st_size < 100_000  # and 30 GB of labels
    with pytest.raises(StoreError, match=f"{NAME}: its text grows to 300[0-9]{{8}} bytes"):
        store.clips()
    bad.unlink()

    wide = ViewSpec(extractor="wide", shape=(2816,), settings={})
    store.append(wide, ["a"], [embedding(*[0.0] * 2816)])
    zeros = pa.repeat(pa.scalar(0, pa.float32()), 2816 * 500)
    flat = pa.FixedSizeListArray.from_arrays(zeros, 2816)
    empty = [pa.repeat(pa.scalar([], pa.list_(kind)), 500) for kind in (pa.int64(), pa.float64())]
    ids, captions = pa.array(map(str, range(500))), pa.nulls(500, pa.string())
    table = pa.table([ids, flat, *empty, captions], schema=view_schema(wide))
    part = view_folder(store, wide.name) / NAME
    pq.write_table(table, part, compression="zstd")
    assert (
        part.stat().st_size < 16_000
    )  # and 5.6 MB of zeros, where 1 MiB + 256 * 16 kB is the most
    with pytest.raises(StoreError, match=f"{NAME}: claims 500 rows"):
        store.load("wide")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < 400_000


def test_what_a_reader_would_refuse_is_not_written(store: Store) -> None:
    many = [clip(f"{number}", uri="/same.avi") for number in range(3)]
    store.append_clips(many)
    with pytest.raises(UsageError, match="embedding of clip a: given more than once"):
        store.append(SPEC, ["a", "a"], [embedding(1, 2), embedding(1, 2)])
    with pytest.raises(UsageError, match=r"extractor='../x': must be letters, digits"):
        ViewSpec(extractor="../x", shape=(2,), settings={})
    with pytest.raises(UsageError, match="must hold no more than 2147483647 values"):
        ViewSpec(extractor="x", shape=(2**16, 2**16), settings={})


def test_pipes_devices_and_folders_are_not_waited_for(store: Store) -> None:
    bad = store.path / "clips" / NAME
    os.mkfifo(bad)
    with pytest.raises(StoreError, match=f"{NAME}: cannot be read .not a regular file"):
        store.clips()
    bad.unlink()
    bad.symlink_to("/dev/zero")
    with pytest.raises(StoreError, match=f"{NAME}: cannot be read .not a regular file"):
        store.clips()
    bad.unlink()
    bad.mkdir()
    with pytest.raises(StoreError, match=f"{NAME}: cannot be read .not a regular file"):
        store.clips()


class Trap:
    """Unpickling it makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["TRAP"],)


def test_no_pickle_is_run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What made pyarrow unpickle a file's metadata until 14.0.1 (CVE-2023-47248).
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    trap = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Trap()),
    }
    table = store.clips()
    fields = [pa.field(f.name, f.type, metadata=trap) for f in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), store.path / "clips" / NAME)
    assert len(store.clips()) == 2  # an unknown extension is the plain column
    assert not (tmp_path / "sprung").exists()


def described(**changes: Any) -> str:
    return json.dumps({"fingerprint": SPEC.fingerprint, **SPEC.to_json(), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "cannot be read .not a JSON object"),
        ("[" * 100_000, "cannot be read"),
        ('{"a":' * 100_000, "cannot be read"),
        (" " * 2**20 + "{}", "1048578 bytes, more than 1048576"),
        ("\ud800", "cannot be read"),
        ("{}", "'extractor' is not a str"),
        (described(shape=2), "'shape' is not a list"),
        (described(shape=[2.0]), "'shape' is not a list of whole numbers"),
        (described(shape=[True]), "'shape' is not a list of whole numbers"),
        (described(shape=[]), r"shape=\(\): must be \(D,\) or \(T, D\)"),
        (described(shape=[2**70]), "must hold no more than"),
        (described(shape=[3]), "describes vector@.*, not the folder that it lies in"),
        (described(dtype="object"), "dtype='object': must be"),
        (described(settings=[["code", 1]]), "'settings' is not a dict"),
        (described(settings={"code": 2}), "describes vector@.*, not the folder"),
        (described(extractor="../../x"), "extractor='../../x': must be letters"),
    ],
)
def test_a_hostile_view_json_is_named(text: str, message: str, store: Store) -> None:
    marker = view_folder(store) / "view.json"
    marker.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(StoreError, match=rf"view\.json: .*{message}.*verify {store.path} --repair"):
        store.load("vector")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "1"}', '{"format": true}', "1e999"])
def test_a_hostile_marker_is_named(text: str, store: Store) -> None:
    (store.path / "kinestore.json").write_text(text)
    with pytest.raises(StoreError, match=r"kinestore\.json: cannot be read"):
        Store(store.path)


def test_a_newer_store_is_neither_read_nor_written(store: Store, tmp_path: Path) -> None:
    (store.path / "kinestore.json").write_text('{"format": 2, "new": "thing"}')
    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    for way in (Store, Store.create):
        with pytest.raises(StoreError, match="store format 2, but this version reads format 1; up"):
            way(store.path)
    before = {path.relative_to(copy): path.stat().st_size for path in copy.rglob("*")}
    after = {path.relative_to(store.path): path.stat().st_size for path in store.path.rglob("*")}
    assert before == after
