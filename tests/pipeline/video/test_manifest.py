"""A manifest is read as it is meant and that is told, or refused in one sentence."""

import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestore.pipeline.video.find_videos import FoundVideos, find_videos
from kinestore.pipeline.video.manifest import MAX_FIELD
from kinestore.store import Source, UsageError


def read(path: Path, content: str | bytes) -> FoundVideos:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return find_videos(path)


def labels(found: FoundVideos) -> list[str | None]:
    return [source.label for source in found.sources]


@pytest.mark.parametrize(
    "header",
    ["video, label", "video,Label", "\ufeffvideo,label", "VIDEO,\tlabel", "video,label ",
     "video,\uff4c\uff41\uff42\uff45\uff4c", "video,\u00a0LABEL"],
)  # fmt: skip
def test_headers_as_people_type_them_give_labels(header: str, tmp_path: Path) -> None:
    found = read(tmp_path / "m.csv", f"{header}\na.mp4,run\nb.mp4,sit\n")
    assert labels(found) == ["run", "sit"]
    assert not found.sources[0].extra
    assert bool(found.notes) == (header != "\ufeffvideo,label")


@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_other_delimiters_are_read_and_told(delimiter: str, name: str, tmp_path: Path) -> None:
    found = read(tmp_path / name, f"video{delimiter}label\na.mp4{delimiter}run, fast\n"
                 if delimiter != "," else 'video,label\na.mp4,"run, fast"\n')  # fmt: skip
    assert labels(found) == ["run, fast"]
    usual = delimiter == ("\t" if name == "m.tsv" else ",")
    assert any("separated by" in note for note in found.notes) == (not usual)
    excel = read(tmp_path / "e.csv", "sep=;\r\nvideo;label\r\na.mp4;run\r\n")
    assert labels(excel) == ["run"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(encoding: str, tmp_path: Path) -> None:
    found = read(tmp_path / "m.csv", "video,label\ncaf\u00e9.mp4,\u8dd1\n".encode(encoding))
    assert labels(found) == ["\u8dd1"] and found.sources[0].uri.endswith("/caf\u00e9.mp4")
    found = read(tmp_path / "m.txt", "caf\u00e9.mp4\n".encode(encoding))
    assert found.sources[0].uri.endswith("/caf\u00e9.mp4")


def test_names_that_are_not_utf8_are_names_and_labels_are_refused(tmp_path: Path) -> None:
    for name, content in (("m.txt", b"caf\xe9.mp4\n"), ("m.csv", b"video,label\ncaf\xe9.mp4,x\n")):
        assert read(tmp_path / name, content).sources[0].uri == f"file://{tmp_path}/caf%E9.mp4"
    with pytest.raises(UsageError, match="line 2, column 'label': is not UTF-8"):
        read(tmp_path / "m.csv", b"video,label\na.mp4,caf\xe9\n")


def test_labels_are_tidied_counted_and_doubtful_ones_told(tmp_path: Path) -> None:
    rows = ["run", "run ", "caf\u00e9", "cafe\u0301", "Run", "nan", "", "None", "\u3000run\u200b"]
    text = "".join(f"{number}.mp4,{label}\n" for number, label in enumerate(rows))
    found = read(tmp_path / "m.csv", f"video,label\n{text}")
    assert labels(found) == [
        "run", "run", "caf\u00e9", "caf\u00e9", "Run", None, None, "None", "run"
    ]  # fmt: skip
    said = "\n".join(found.notes)
    for words in (
        "read without blanks at their ends and in one Unicode form (NFC): 3",
        "whose label 'nan' is read as none: 1",
        "'None' is read as a label of 1 videos",
        "videos without a label, where others have one: 2",
        "'Run' and 'run' differ only in case or spacing",
    ):
        assert words in said, said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "video,label,label\na,b,c\n", "has the column 'label' twice"),
        ("m.csv", "video,label,Label\na,b,c\n", "has the column 'label' twice"),
        ("m.csv", "video,cam,Cam\na,b,c\n", "'Cam' and 'cam', which SQL cannot tell apart"),
        ("m.csv", "video,fps\na,25\n", "column 'fps': the store keeps that name for itself"),
        ("m.csv", "video,Width\na,25\n", "column 'Width': the store keeps that name"),
        ("m.csv", "video,clip_id \na,25\n", "column 'clip_id': the store keeps that name"),
        ("m.csv", "video,label\na.mp4,x\na.mp4,y\n", "names .*a.mp4 twice, with different"),
        ("m.csv", "video,label\na.mp4,x\n./a.mp4,\n", "names .*a.mp4 twice, with different"),
        ("m.csv", "video,start,end\na.mp4,0,1\na.mp4,1,2\n", "segments start_s and end_s"),
        ("m.txt", "a/b.avi 3\n", "line 1 is 'a/b.avi 3', a video and a second field.*--splits"),
        ("m.txt", "c.mp4\na b.MP4\t1\n", "line 2 is .*give the folder of the videos"),
        ("m.txt", "c.avi run\n", "a .csv with the columns video and label"),
        ("m.csv", "video,label\nnan,x\n", "a row names no video"),
        ("m.csv", "video,label\n", "names no video"),
        ("m.csv", f"video,label\na,{'x' * (MAX_FIELD + 1)}\n", "line 2, column 'label': is longer"),
        ("m.csv", f"video,label\na,{'x' * (1 << 21)}\n", "line 2 is longer than 1048576"),
        ("m.txt", "x" * (1 << 21), "line 1 is longer than 1048576"),
        ("m.txt", "a.mp4\0b.mp4\0", "line 1 has a zero byte"),
        ("m.csv", b"v\0i\0d\0e\0o\0\n\0", "line 1 has a zero byte"),
        ("m.csv", "video\nhttp://x/a.mp4\n", "http://: must be a local path, file://"),
        ("m.csv", 'video\n"' + "a\n" * 100_000, "field larger than field limit"),
    ],
)  # fmt: skip
def test_what_could_mislead_is_refused(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path / name, content)


@pytest.mark.parametrize(
    "name", ["path", "filename", "file", "filepath", "File Name", "video_path"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_names_of_the_video_column_are_read_and_told(
    name: str, separator: str, tmp_path: Path
) -> None:
    rows = [[name, "label"], ["a.mp4", "run"]]
    found = read(tmp_path / "m.csv", "\n".join(map(separator.join, rows)) + "\n")
    assert labels(found) == ["run"] and found.sources[0].uri.endswith("/a.mp4")
    assert any(f"the column '{name}' is read as 'video'" in note for note in found.notes)


def test_a_path_beside_the_video_column_is_a_column_of_ones_own(tmp_path: Path) -> None:
    (source,) = read(tmp_path / "m.csv", "video,path\na.mp4,b.mp4\n").sources
    assert source.uri.endswith("/a.mp4") and source.extra == {"path": "b.mp4"}
    with pytest.raises(UsageError, match=r"no column 'video' .*path, file"):
        read(tmp_path / "m.csv", "path,file\na.mp4,b.mp4\n")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("video,lable", "column 'lable' is kept as your own; name it 'label'"),
        ("video,label,splits", "column 'splits' is kept as your own; name it 'split'"),
        ("video,label,groups", "column 'groups' is kept as your own; name it 'group'"),
        ("video,class", "has no column 'label', so no video has one; kept: 'class'"),
        ("video,label,", "columns without a name, which are left out: 1"),
    ],
)
def test_columns_that_are_perhaps_meant_are_told(header: str, words: str, tmp_path: Path) -> None:
    row = ",".join(["a.mp4", "x", "y"][: header.count(",") + 1])
    found = read(tmp_path / "m.csv", f"{header}\n{row}\n")
    assert any(words in note for note in found.notes), found.notes


@pytest.mark.parametrize("spellings", [["07", "7"], ["1", "1.0"], ["0", "0.0", "00"]])
def test_labels_that_are_one_number_in_several_spellings_are_told(
    spellings: list[str], tmp_path: Path
) -> None:
    rows = "".join(f"{number}.mp4,{label}\n" for number, label in enumerate(spellings))
    found = read(tmp_path / "m.csv", f"video,label\n{rows}8.mp4,17\n9.mp4,1.5\n")
    assert [label for label in labels(found) if label in spellings] == spellings
    (note,) = found.notes
    assert f"labels {', '.join(map(repr, spellings))} are one number, and all stand" in note


def test_a_table_without_a_header_or_with_an_empty_row_is_refused_with_the_remedy(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="give that name, in a first line, to the one with the pa"):
        read(tmp_path / "m.csv", "a.mp4,run\nb.mp4,sit\n")
    with pytest.raises(UsageError, match=r"names no video: .*; remove line 3"):
        read(tmp_path / "m.csv", "video,label\na.mp4,run\n,\n")


def test_repeated_rows_and_short_lines_are_told(tmp_path: Path) -> None:
    found = read(tmp_path / "m.csv", "video,label\na.mp4,x\na.mp4,x \nb.mp4\n")
    assert labels(found) == ["x", None]
    said = "\n".join(found.notes)
    assert "rows that repeat a video, and are read once: 1" in said
    assert "lines with fewer fields than the header, the last ones empty: 1" in said


def test_a_name_with_blanks_at_its_ends_is_found_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / " a.mp4").touch()
    found = read(tmp_path / "m.txt", " a.mp4\n b.mp4 \n~x.mp4\n-i.mp4\na:b.mp4\n%d.mp4\n")
    names = [Path(source.uri).name for source in found.sources]
    assert names == [" a.mp4", "b.mp4", "~x.mp4", "-i.mp4", "a:b.mp4", "%d.mp4"]


def test_rows_that_are_links_to_themselves_stay_rows(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("a.mp4")
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    found = read(tmp_path / "m.txt", "a.mp4\nx/b.mp4\nx/../c.mp4\n" + "d" * 300 + "/e.mp4\n")
    assert len(found.sources) == 4


def test_odd_types_of_parquet_are_text(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = pa.table(
        {
            "video": pa.array([b"caf\xe9.mp4", b"b.mp4"], pa.binary()),
            "label": pa.array(["run", None]).dictionary_encode(),
            "when": pa.array([when, None], pa.timestamp("us")),
            "nanoseconds": pa.array([1, 2**62], pa.timestamp("ns", tz="UTC")),
            "far": pa.array([2**62, -(2**62)], pa.timestamp("ms")),
            "price": pa.array([decimal.Decimal("1.50"), None]),
            "big": pa.array([2**64 - 1, 0], pa.uint64()),
            "nothing": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    first, second = find_videos(tmp_path / "m.parquet").sources
    assert isinstance(first, Source) and first.uri == f"file://{tmp_path}/caf%E9.mp4"
    assert (first.label, second.label) == ("run", None)
    assert first.extra["when"] == "2026-01-02 03:04:05" and second.extra["when"] == ""
    assert first.extra["price"] == "1.50" and first.extra["big"] == str(2**64 - 1)
    assert first.extra["nothing"] == "" and first.extra["far"] and first.extra["nanoseconds"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2]]),
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    ],
)
def test_nested_columns_are_refused_by_name(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"], "tags": column}), tmp_path / "m.parquet")
    with pytest.raises(UsageError, match="column 'tags' is of type"):
        find_videos(tmp_path / "m.parquet")


@pytest.mark.parametrize(("long", "num_rows"), [(1 << 20, 100_000), (1, 3_000_000)])
def test_a_small_parquet_manifest_that_claims_much_is_refused_before_it_is_read(
    long: int, num_rows: int, tmp_path: Path
) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * num_rows, pa.int8()), ["x" * long])
    pq.write_table(pa.table({"video": column}), tmp_path / "m.parquet", compression="zstd")
    before = pa.total_allocated_bytes()
    with pytest.raises(UsageError, match=r"too much for|grows to"):
        find_videos(tmp_path / "m.parquet")
    assert pa.total_allocated_bytes() - before < 1 << 26
