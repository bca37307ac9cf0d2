"""A file of chosen clips goes in where the explorer's lasso let it out."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.commands import clip_list
from kinestore.pipeline.commands.clip_list import read_clip_list
from kinestore.store import UsageError
from tests.helpers.stored import filled


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chosen.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_are_read_in_order_each_once_beside_other_columns(tmp_path: Path) -> None:
    text = '\ufefflabel,clip_id\r\n"run, ""fast""\nor not",b\r\nsit,a\r\nsit,b\r\n'
    assert read_clip_list(written(tmp_path, text)) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nrun\n", r"chosen\.csv: has no column 'clip_id' \(its columns are: label\)"),
        ("", r"chosen\.csv: has no column 'clip_id' \(its columns are: none\)"),
        ("clip_id\n", r"chosen\.csv: lists no clip; select some first"),
        ("clip_id,label\na,run\n,sit\n", r"chosen\.csv: row 3 has no clip_id"),
        ('clip_id\n"a', r"chosen\.csv: cannot be read as a list of clips \(unexpected end"),
    ],
)
def test_what_is_no_list_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_clip_list(written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"none\.csv: cannot be read as a list of clips \(.*No such"
    ):
        read_clip_list(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"clip_id\n\xff\xfe\n")
    with pytest.raises(UsageError, match=r"x\.csv: cannot be read as a list of clips \(.*utf-8"):
        read_clip_list(tmp_path / "x.csv")


def test_a_list_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_list, "MAX_CLIPS", 2)
    assert read_clip_list(written(tmp_path, "clip_id\na\nb\n")) == ["a", "b"]
    with pytest.raises(UsageError, match=r"lists more than 2 clips"):
        read_clip_list(written(tmp_path, "clip_id\na\nb\nc\n"))


def test_export_takes_the_chosen_clips_alone(tmp_path: Path) -> None:
    filled(str(tmp_path / "store"))
    chosen = written(tmp_path, "clip_id,label\nc,run\na,run\n")
    asked = ["export", str(tmp_path / "store"), "--features", "vector", "--clips", str(chosen)]
    out = tmp_path / "x.parquet"
    answer = CliRunner().invoke(app, [*asked, "--to", str(out)])
    assert answer.exit_code == 0, answer.output
    assert pq.read_table(out).column("clip_id").to_pylist() == ["a", "c"]
