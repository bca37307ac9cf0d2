"""Questions in SQL: what they see, what they read, and that they reach nothing else."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from kinestore.pipeline.commands.sql_tables import (
    MAX_CHARACTERS,
    MAX_ROWS,
    answer_rows,
    answer_table,
)
from kinestore.store import Embedding, Store, StoreError, UsageError, ViewSpec
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import read_part
from tests.helpers.stored import SPEC, clip, embedding, failure, view_folder

SEQUENCE = ViewSpec(extractor="sequence", shape=(3, 2), dtype="float16", settings={})


def told(caption: str | None, *values: float) -> Embedding:
    frames = np.arange(3)
    vector = np.array(values, np.float32).reshape(3, 2)
    return Embedding(vector=vector, frame_index=frames, pts_s=frames / 2, caption=caption)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three clips; a view of vectors of all, in two parts; a view of sequences of two."""
    made = Store.create(tmp_path / "store")
    made.append_clips([clip("a", label="run", group="g1"), clip("b", label="sit"), clip("c")])
    made.append(SPEC, ["c"], [embedding(5, 6)])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    made.append(SEQUENCE, ["a", "b"], [told("a man", *range(6)), told(None, *range(6, 12))])
    return made


def rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.sql(query).to_pylist()]


def test_clips_and_views_join(store: Store) -> None:
    joined = rows(
        store,
        """SELECT clips.label, vector.embedding[2], sequence.embedding[3][1] FROM clips
           JOIN vector USING (clip_id) LEFT JOIN sequence USING (clip_id) ORDER BY clip_id""",
    )
    assert joined == [("run", 2.0, 4.0), ("sit", 4.0, 10.0), (None, 6.0, None)]
    assert rows(store, 'SELECT "group", count(*) FROM clips GROUP BY 1 ORDER BY 1') == [
        ("g1", 1),
        (None, 2),
    ]


def test_the_tables_are_those_that_the_store_gives(store: Store) -> None:
    missing = failure()
    store.append_failures([missing, missing])
    store.append_clips([clip("a2", uri="/videos/a.avi", label="walk")])
    answer = store.sql("SELECT * FROM clips ORDER BY clip_id, uri")
    assert answer.to_pylist() == store.clips().to_pylist()
    assert answer.schema.types == store.clips().schema.types
    assert rows(store, "SELECT kind, attempt FROM failures") == [("missing-file", 1)]
    assert rows(store, "SELECT * FROM captions") == [("a", SEQUENCE.name, "a man")]
    named = ["captions", "clips", "failures", "sequence", SEQUENCE.name, "vector", SPEC.name]
    assert rows(store, "SHOW TABLES") == [(name,) for name in named]


def test_embeddings_come_as_fixed_size_lists_of_float32(store: Store) -> None:
    vectors = store.sql(f'SELECT embedding FROM "{SPEC.name}" ORDER BY clip_id')
    assert vectors.schema.types == [pa.list_(pa.field("", pa.float32()), 2)]
    assert vectors.column(0).to_pylist() == [[1, 2], [3, 4], [5, 6]]
    (one, frames, pts), _ = rows(
        store, "SELECT embedding, frame_index, pts_s FROM sequence ORDER BY clip_id"
    )
    assert one == [[0, 1], [2, 3], [4, 5]] and frames == [0, 1, 2] and pts == [0, 0.5, 1]
    assert rows(store, "DESCRIBE sequence")[1][:2] == ("embedding", "FLOAT[2][3]")
    near = "SELECT array_distance(embedding, [1, 2]::FLOAT[2]) AS d FROM vector ORDER BY d"
    assert [distance for (distance,) in rows(store, near)] == pytest.approx([0, 8**0.5, 32**0.5])


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("SELECT count(*) FROM vector", {"clip_id"}),
        ("SELECT pts_s FROM vector", {"clip_id", "pts_s"}),
        ("SELECT clip_id FROM vector WHERE caption IS NULL", {"clip_id", "caption"}),
        ("SELECT count(*) FROM captions", {"clip_id", "caption"}),
        ("SELECT embedding[1] FROM vector", {"clip_id", "embedding"}),
        ("SELECT count(*) FROM clips", set()),
    ],
)
def test_only_what_is_asked_for_is_read(
    query: str, read: set[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns: set[str] = set()
    real = read_part

    def recorded(
        storage: Storage, name: str, schema: pa.Schema, names: list[str] | None = None
    ) -> pa.Table:
        if name.startswith("views/"):
            columns.update(schema.names if names is None else names)
        return real(storage, name, schema, names)

    monkeypatch.setattr("kinestore.store.part_folder.read_part", recorded)
    store.sql(query)
    assert columns == read


@pytest.mark.parametrize("condition", ["clip_id = 'b'", "clip_id > 'a' AND clip_id < 'c'"])
@pytest.mark.parametrize("column", ["clip_id", "embedding", "caption"])
def test_filters_choose_the_same_rows_whatever_is_shown(
    condition: str, column: str, store: Store
) -> None:
    assert len(rows(store, f"SELECT {column} FROM vector WHERE {condition}")) == 1


def test_of_a_clip_with_two_rows_the_newest_stands(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip("a"), clip("b")])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    folder = view_folder(made)
    other = Store.create(tmp_path / "other")
    other.append(SPEC, ["a"], [embedding(9, 9)], number=5)
    (newer,) = view_folder(other).glob("*.parquet")
    newer.rename(folder / newer.name)
    found = rows(made, "SELECT clip_id, embedding[1] FROM vector ORDER BY clip_id")
    assert found == [("a", 9.0), ("b", 3.0)]
    assert rows(made, "SELECT clip_id FROM vector WHERE embedding[1] = 1") == []
    assert rows(made, "SELECT count(*) FROM vector") == [(2,)]
    assert made.load("vector").features[:, 0].tolist() == [9, 3]


def test_a_snapshot_sees_its_own_parts_alone(store: Store) -> None:
    store.take_snapshot("s")
    store.append_clips([clip("d")])
    store.append(SPEC, ["d"], [embedding(7, 8)])
    other = ViewSpec(extractor="vector", shape=(2,), settings={"code": 2})
    store.append(other, ["d"], [embedding(7, 8)])
    pinned = Store(store.path, snapshot="s")
    for query in ("SELECT count(*) FROM clips", "SELECT count(*) FROM vector"):
        assert rows(pinned, query) == [(3,)]
    assert rows(store, f'SELECT count(*) FROM "{SPEC.name}"') == [(4,)]
    for part in view_folder(store).glob("*.parquet"):
        part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(StoreError, match="has changed since snapshot 's' was taken"):
        pinned.sql("SELECT count(*) FROM vector")


def test_a_short_name_that_could_be_two_is_no_table(store: Store) -> None:
    newer = ViewSpec(extractor="vector", shape=(2,), settings={"code": 2})
    upper = ViewSpec(extractor="Sequence", shape=(2,), settings={})
    like_a_table = ViewSpec(extractor="clips", shape=(2,), settings={})
    for spec in (newer, upper, like_a_table):
        store.append(spec, ["a"], [embedding(7, 8)])
        assert rows(store, f'SELECT embedding FROM "{spec.name}"') == [([7, 8],)]
    for name in ("vector", "sequence"):
        with pytest.raises(UsageError, match=f"Table with name {name} does not exist"):
            store.sql(f"SELECT * FROM {name}")
    assert rows(store, "SELECT count(*) FROM clips") == [(3,)]


def test_an_empty_store_has_its_tables(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "store")
    for table in ("clips", "failures", "captions"):
        assert rows(made, f"SELECT count(*) FROM {table}") == [(0,)]
    assert made.sql("SELECT * FROM captions").column_names == ["clip_id", "view", "caption"]


def test_a_hostile_part_stops_the_queries_that_read_it(store: Store) -> None:
    folder = view_folder(store)
    bad = folder / "00009-0123456789abcdef.parquet"
    good: dict[str, Any] = {
        "clip_id": ["x"],
        "embedding": pa.array([[1, np.nan]], pa.list_(pa.float32(), 2)),
        "frame_index": pa.array([[0]], pa.list_(pa.int64())),
        "pts_s": pa.array([[0.0]], pa.list_(pa.float64())),
        "caption": pa.array([None], pa.string()),
    }
    pq.write_table(pa.table(good), bad)
    with pytest.raises(StoreError, match=f"{bad.name}: has embeddings .* not finite; `kinestore v"):
        store.sql("SELECT embedding FROM vector")
    pq.write_table(pa.table({**good, "embedding": ["[1, 2]"]}), bad)
    with pytest.raises(StoreError, match=f"{bad.name}: column 'embedding' is string, not fixed"):
        store.sql("SELECT count(*) FROM vector")
    bad.write_bytes(b"PAR1 not parquet PAR1")
    with pytest.raises(StoreError, match=f"{bad.name}: cannot be read"):
        store.sql("SELECT clip_id FROM clips JOIN vector USING (clip_id)")
    assert rows(store, "SELECT count(*) FROM clips") == [(3,)]


ONE_SELECT = "must be one SELECT"
NO_FILES = "LocalFileSystem has been disabled"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM read_parquet('{out}')", NO_FILES),
        ("SELECT * FROM read_csv('/etc/passwd')", NO_FILES),
        ("SELECT * FROM read_text('/etc/passwd')", NO_FILES),
        ("SELECT * FROM read_blob('https://example.invalid/x')", "disabled|httpfs"),
        ("SELECT * FROM glob('/etc/*')", NO_FILES),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM '{out}'", "does not exist|disabled"),
        ("SELECT * FROM local_table", "Table with name local_table does not exist"),
        ("SELECT * FROM query('COPY clips TO ''{out}''')", "SELECT"),
        ("SELECT * FROM enable_logging(storage_path='{out}')", "locked|not exist"),
        # DuckDB 2.0 takes a COPY in a WITH, and leaves ':memory:' free without external access.
        ("WITH x AS (COPY clips TO '{out}') SELECT 1", "disabled|needs a SELECT"),
        ("WITH x AS (COPY clips TO ':memory:') SELECT 1", "disabled|needs a SELECT"),
        ("SELECT * FROM read_text(':memory:')", NO_FILES),
        ("COPY clips TO '{out}'", ONE_SELECT),
        ("EXPORT DATABASE '{out}'", ONE_SELECT),
        ("ATTACH '{out}' AS other", ONE_SELECT),
        ("INSTALL httpfs", ONE_SELECT),
        ("LOAD httpfs", ONE_SELECT),
        ("SET enable_external_access = true", ONE_SELECT),
        ("SET lock_configuration = false", ONE_SELECT),
        ("PRAGMA enable_profiling = 'json'", ONE_SELECT),
        ("CREATE TABLE x AS SELECT 1", ONE_SELECT),
        ("DROP VIEW captions", ONE_SELECT),
        ("SELECT 1; COPY clips TO '{out}'", ONE_SELECT),
        ("SELECT 1; SELECT 2", ONE_SELECT),
        ("", ONE_SELECT),
        ("-- nothing", ONE_SELECT),
    ],
)
def test_a_query_reaches_no_file_no_network_and_no_setting(
    query: str,
    message: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local_table = pa.table({"secret": [1]})
    pq.write_table(local_table, tmp_path / "out.parquet")
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(UsageError, match=f"^sql: .*({message})"):
        store.sql(query.format(out=tmp_path / "out.parquet"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", 'sql: Parser Error: syntax error at or near "SELEC"$'),
        ("SELECT nothing FROM clips", 'sql: Binder Error: Referenced column "nothing" not found'),
        ("SELECT error('mine')", "sql: Invalid Input Error: mine$"),
        ("SELECT '\udc80'", "sql: .*surrogates not allowed"),
        (f"SELECT {'(' * 5000}1{')' * 5000}", "sql: Parser Error"),
    ],
)
def test_a_mistake_is_told_in_duckdbs_words_on_one_line(
    query: str, message: str, store: Store
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        store.sql(query)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_without_duckdb_the_remedy_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(
        UsageError, match=r"DuckDB is not installed; pip install 'kinestore\[sql\]'"
    ):
        store.sql("SELECT 1")


def test_ctrl_c_stops_a_long_query(store: Store) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        store.sql("SELECT count(*) FROM range(1000000000000) t(a) WHERE a % 7 = 3")


def shown(answer: pa.Table) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(answer_table(answer))
    return console.export_text()


def test_an_answer_is_drawn_short_and_told_whole() -> None:
    columns = {"y": ["l" * (MAX_CHARACTERS + 1)] * 101, "z": [[10] * MAX_CHARACTERS] * 101}
    answer = pa.table({"[b]x": range(MAX_ROWS + 1), **columns})
    text = shown(answer)
    assert "1 more rows; --json prints all" in text and "[b]x" in text
    assert "l" * (MAX_CHARACTERS + 1) in text and "…" in text and "10]" not in text
    assert len(answer_rows(answer)) == MAX_ROWS + 1


def test_sums_dates_and_nulls_have_a_json_form(store: Store) -> None:
    answer = store.sql(
        "SELECT sum(num_frames) AS n, 1.5::DECIMAL(3, 1) AS d, DATE '2026-01-02' AS t, NULL AS z "
        "FROM clips",
        as_text=True,
    )
    assert answer_rows(answer) == [{"n": 27, "d": 1.5, "t": "2026-01-02", "z": None}]
    assert "2026-01-02" in shown(answer)
    assert answer_rows(store.sql("SELECT * FROM captions WHERE false")) == []


def test_the_command_prints_a_table_json_or_one_sentence(store: Store) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kinestore", "sql", str(store.path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    query = "SELECT label, count(*) AS n FROM clips GROUP BY label ORDER BY label"
    drawn = run(query)
    assert drawn.returncode == 0 and drawn.stderr == "" and "sit" in drawn.stdout
    told = run(query, "--json")
    expected = [{"label": "run", "n": 1}, {"label": "sit", "n": 1}, {"label": None, "n": 1}]
    assert json.loads(told.stdout) == expected and told.stderr == ""
    wrong = run("SELECT x FROM clips")
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert wrong.stderr.startswith("kinestore: sql: Binder Error") and wrong.stderr.count("\n") == 1
