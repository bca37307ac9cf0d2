"""Whatever stands in a manifest: sources in UTF-8, or one sentence; nothing else is touched."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinestore.pipeline.video.find_videos import find_videos
from kinestore.store import KinestoreError
from kinestore.store.schema import CLIPS
from tests.helpers.fuzzing import MANY_EXAMPLES

FEW = settings(max_examples=200, deadline=2000, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=MANY_EXAMPLES)

NAMES = st.sampled_from(
    ["video", " Video", "label", "Label ", "\ufefflabel", "split", "group", "fps", "", "x", "X"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["a.mp4", "../b.mp4", "~/c.mp4", "nan", "None", "", " ", "s3:/x", "http://x"]),
    st.text(max_size=12),
)
DELIMITERS = st.sampled_from([",", "\t", ";", "|", ", "])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A table or list, in some encoding, of which some bytes may be damaged."""
    rows = draw(st.lists(st.lists(VALUES, max_size=4), max_size=5))
    lines = [draw(st.lists(NAMES, max_size=4)), *rows]
    delimiter, end = draw(DELIMITERS), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(delimiter.join(line) for line in lines)
    content = bytearray(text.encode(draw(ENCODINGS), errors="replace"))
    return damaged(draw, content)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A Parquet file with columns of odd types, of which some bytes may be damaged."""
    num_rows = draw(st.integers(0, 3))
    types = st.sampled_from(
        [pa.string(), pa.large_string(), pa.binary(), pa.int64(), pa.uint64(), pa.float64(),
         pa.bool_(), pa.timestamp("ns"), pa.timestamp("us", tz="Europe/Rome"), pa.date32(),
         pa.time64("ns"), pa.duration("s"), pa.list_(pa.int8()), pa.struct({"a": pa.int8()}),
         pa.null(), pa.dictionary(pa.int8(), pa.string())]
    )  # fmt: skip
    columns = {}
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        kind = draw(types)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            values = draw(st.lists(VALUES, min_size=num_rows, max_size=num_rows))
            columns[name] = pa.array([v.replace("\ud800", "") for v in values], kind)
        elif pa.types.is_integer(kind) or pa.types.is_temporal(kind):
            values64 = draw(st.lists(st.integers(0, 2**31), min_size=num_rows, max_size=num_rows))
            small = pa.int32() if kind == pa.date32() else pa.int64()
            columns[name] = pa.array([v % 2**31 for v in values64], small).cast(kind)
        else:
            columns[name] = pa.nulls(num_rows, kind)
    columns.setdefault("video", pa.array([f"{row}.mp4" for row in range(num_rows)]))
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return damaged(draw, bytearray(file.getvalue()))


def damaged(draw: st.DrawFn, content: bytearray) -> bytes:
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.sampled_from([None, None, None, len(content) // 2]))])


@contextlib.contextmanager
def manifest(suffix: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m{suffix}"
        path.write_bytes(content)
        yield path
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
        assert path.read_bytes() == content


def check(suffix: str, content: bytes) -> None:
    with manifest(suffix, content) as path:
        try:
            found = find_videos(path)
        except KinestoreError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            return
    assert found.sources
    assert len({source.uri for source in found.sources}) == len(found.sources)
    for source in found.sources:
        for text in (source.uri, source.label, source.group, source.split, *source.extra.values()):
            assert (text or "").encode() is not None
        assert not set(source.extra) & set(CLIPS.names)


@FEW
@given(st.sampled_from([".csv", ".tsv", ".txt"]), texts())
def test_text_manifests_are_read_or_refused(suffix: str, content: bytes) -> None:
    check(suffix, content)


@FEW
@given(tables())
def test_parquet_manifests_are_read_or_refused(content: bytes) -> None:
    check(".parquet", content)


@pytest.mark.slow
@MANY
@given(st.sampled_from([".csv", ".tsv", ".txt"]), st.one_of(texts(), st.binary(max_size=200)))
def test_many_text_manifests_are_read_or_refused(suffix: str, content: bytes) -> None:
    check(suffix, content)


@pytest.mark.slow
@MANY
@given(tables())
def test_many_parquet_manifests_are_read_or_refused(content: bytes) -> None:
    check(".parquet", content)
