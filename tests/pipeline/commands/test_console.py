"""What is printed is whole, plain, and valid JSON, whatever names and messages are."""

import ast
import json
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.commands.console import say, text_table
from kinestore.pipeline.commands.sql_tables import answer_rows
from kinestore.pipeline.extraction.tasks import ClipTask, failure_rows
from kinestore.pipeline.html_page import render_page
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.printable import printable
from kinestore.pipeline.runs.writer import open_run
from kinestore.pipeline.spreadsheet import cell_text, text_cell
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import Source, Store
from tests.helpers.paths import ROOT
from tests.helpers.stored import clip, failure
from tests.pipeline.commands.test_help import COMMANDS

HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "a\nkinestore: ok": r"a\nkinestore: ok",
    "\x9b2J": r"\x9b2J",
    "\x07\x08\r": r"\x07\x08\r",
    "gpj\u202eexe": r"gpj\u202eexe",
    "\u2066x": r"\u2066x",
    "half \udcff": r"half \udcff",
    "[red]x[/red]": "[red]x[/red]",
    "[/]": "[/]",
    ":smile:": ":smile:",
    "[link=https://x]y[/link]": "[link=https://x]y[/link]",
    "Ünï 跳ぶ 🏃": "Ünï 跳ぶ 🏃",
}
"""Texts of a stranger's files, and what is shown of them."""


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_texts_are_shown_and_not_obeyed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(text) == HOSTILE[text]
    say(text)
    say(text_table(("name", text), [(text, 1)], title=text, caption=text))
    printed = capsys.readouterr().out
    assert printed.count(HOSTILE[text]) == 5
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", printed)


def hostile_store(path: Path) -> Store:
    store = Store.create(path)
    names = [name for name in HOSTILE if "\udcff" not in name]
    store.append_clips([clip(f"{n}", label=name) for n, name in enumerate(names)])
    store.append_failures(
        [failure(uri=f"/v/{n}", stage=m, kind=m, message=m) for n, m in enumerate(names)]
    )
    return store


@pytest.mark.parametrize(
    "words", [["failures"], ["sql", 'SELECT label, label AS "[/]" FROM clips'], ["status"]]
)
def test_commands_print_what_lies_in_a_hostile_store(words: list[str], tmp_path: Path) -> None:
    store = hostile_store(tmp_path / "[red]s")
    command, *rest = words
    done = CliRunner().invoke(app, [command, str(store.path), *rest])
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    if command != "status":
        assert r"\x1b[31mred" in done.stdout and "[link=https://x]y[/link]" in done.stdout
        told = CliRunner().invoke(app, [command, str(store.path), *rest, "--json"]).stdout
        assert "\x1b[31mred" in str(json.loads(told)[0].values()).encode().decode("unicode_escape")
        assert "\x1b" not in told


def test_nothing_is_cut_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "/videos/" + "name " * 100 + "x" * 300
    say(text_table(("path", "message"), [(long, long)], title=long))
    assert capsys.readouterr().out.count(long) == 3


def test_a_narrow_terminal_wraps_and_cuts_nothing() -> None:
    code = (
        "from kinestore.pipeline.commands.console import *\n"
        "say(text_table(('path', 'n'), [('/v/' + 'abcdefghij' * 12, 7)], title='t' * 90))"
    )
    reader, writer = pty.openpty()
    environment = os.environ | {"COLUMNS": "30", "TERM": "xterm"}
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writer, env=environment, check=True
    )
    os.close(writer)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert len(re.findall("[a-j]", plain)) >= 120 and plain.count("t") >= 90 and "…" not in plain
    assert max(map(len, plain.splitlines())) <= 30


def test_a_terminal_without_the_letters_of_a_name_gets_escapes(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    store.append_clips([clip("a", label="跳ぶ")])
    for words in (["sql", str(store.path), "SELECT label FROM clips"], ["status", "/absent/跳ぶ"]):
        done = subprocess.run(
            [sys.executable, "-m", "kinestore", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            check=False,
        )
        assert r"\u8df3\u3076" in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_each_failure_names_its_own_file() -> None:
    sources = tuple(Source(uri=f"/v/{name}.mp4") for name in ("a", "b", "c"))
    task = ClipTask(clip_id="1", sources=sources, outputs=(), known=False)
    error = VideoError("not-a-video", "/v/a.mp4: is not a video (/v/a.mp4 has no bytes)")
    for row in failure_rows(task, error, stage="decode"):
        assert row.message == f"{row.uri}: is not a video ({row.uri} has no bytes)"


def test_a_failure_whose_message_names_no_file_is_shown_with_it(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    store.append_failures([failure(uri="/v/lost.mp4", message="why")])
    assert "/v/lost.mp4: why" in CliRunner().invoke(app, ["failures", str(store.path)]).stdout


def messages() -> Iterator[tuple[str, str]]:
    """The texts of the source that are no docstrings, with their file."""
    for path in sorted((ROOT / "kinestore").rglob("*.py")):
        tree = ast.parse(path.read_text())
        comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in comments:
                yield path.name, text


OPTIONS_OF_FLOWER = {"superlink.py", "supernode.py"}
"""Files whose options are those of Flower's commands."""


def test_every_option_that_a_message_names_exists() -> None:
    known = {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", "--resources"}  # the latter is of `dask worker`
    named = {
        (file, option)
        for file, text in messages()
        if file not in OPTIONS_OF_FLOWER
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)
    }
    assert len(named) > 20
    assert sorted((file, option) for file, option in named if option not in known) == []


def test_every_command_that_a_message_names_exists_and_has_the_options() -> None:
    known = {" ".join(path): command for path, command in COMMANDS.items()}
    for file, text in messages():
        for words in re.findall(r"`kinestore ([^`]*)", text):
            several = words.startswith(("weights ", "federation "))
            name = " ".join(words.split()[: 2 if several else 1])
            assert name in known, f"{file}: {text}"
            options = {option for one in known[name].params for option in one.opts}
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", words):
                assert option in options, f"{file}: kinestore {name} has no {option}"


NUMBERS = [math.nan, math.inf, -math.inf, 1.5, 2**70, True, None, "NaN"]


def strict(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_does_not_have_are_null() -> None:
    expected = [None, None, None, 1.5, 2**70, True, None, "NaN"]
    assert strict(json_text({"a": NUMBERS, "b": {"c": tuple(NUMBERS)}})) == {
        "a": expected,
        "b": {"c": expected},
    }


def test_run_folders_and_pages_hold_json_alone(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", {"job": "train", "rate": math.nan}, columns=["fold"]) as run:
        run.write_json("communication.json", {"saved": -math.inf})
    assert strict((tmp_path / "run" / "config.json").read_text()) == {"job": "train", "rate": None}
    assert strict((tmp_path / "run" / "communication.json").read_text()) == {"saved": None}
    page = render_page(
        "kinestore.pipeline.explorer",
        "page.html",
        style="",
        script="",
        title="t",
        caption="c",
        data={"x": [math.nan, 1.0]},
        thumbnails={},
    )
    assert '{"x":[null,1.0]}' in page


FORMULAS = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "'=1", "\uff1d1", "''-x"]


@pytest.mark.parametrize("text", [*FORMULAS, "run", "it's", "'quoted'", "", "a=b"])
def test_no_cell_is_a_formula_and_each_is_read_back(text: str, tmp_path: Path) -> None:
    cell = text_cell(text)
    assert cell_text(cell) == text and (cell != text) == (text in FORMULAS)
    with open_run(tmp_path / "run", {"job": "train"}, columns=["fold", "loss"]) as run:
        run.add({"fold": text, "loss": -1.5})
    written = (tmp_path / "run" / "metrics.csv").read_bytes().decode()
    quoted = f'"{cell}"' if re.search("[\r\t]", cell) and "\r" in cell else cell
    assert written in (f"fold,loss\r\n{quoted},-1.5\r\n", f'fold,loss\r\n"{cell}",-1.5\r\n')


SQL = {
    "DATE 'infinity'": "infinity",
    "DATE '290000-01-01'": "290000-01-01",
    "DATE '0044-03-15 (BC)'": "0044-03-15 (BC)",
    "TIMESTAMP_NS '2020-01-01 00:00:00.123456789'": "2020-01-01 00:00:00.123456789",
    "TIMESTAMPTZ '2020-01-01 00:00:00+05'": "2019-12-31 19:00:00+00",
    "TIMETZ '10:00:00+02'": "10:00:00+02",
    "INTERVAL 3 MONTHS": "3 months",
    "170141183460469231731687303715884105727::HUGEINT": 2**127 - 1,
    "340282366920938463463374607431768211455::UHUGEINT": str(2**128 - 1),
    "1.23::DECIMAL(38, 10)": 1.23,
    "1234567890123456789012345.1::DECIMAL(38, 1)": "1234567890123456789012345.1",
    r"'a\xFF'::BLOB": r"a\xFF",
    "'101'::BIT": "101",
    "MAP {'a': 1}": {"a": 1},
    "MAP {DATE '2020-01-01': DATE 'infinity'}": {"2020-01-01": "infinity"},
    "{'a b': DATE '290000-01-01', 'n': 1}": {"a b": "290000-01-01", "n": 1},
    "union_value(x := DATE '290000-01-01')": "290000-01-01",
    "[[DATE 'infinity'], NULL]": [["infinity"], None],
    "'nan'::DOUBLE": None,
    "[1.5, '-inf'::FLOAT]": [1.5, None],
}


def test_values_of_sql_that_python_cannot_hold_are_told_exactly(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    selected = ", ".join(f"{expression} AS c{n}" for n, expression in enumerate(SQL))
    (row,) = answer_rows(store.sql(f"SELECT {selected}", as_text=True))
    assert strict(json_text(list(row.values()))) == list(SQL.values())
    store.sql(f"SELECT {selected}")  # as Arrow has them
    twice = answer_rows(store.sql("SELECT 1 AS a, 2 AS a, 3 AS a_1"))
    assert twice == [{"a": 1, "a_2": 2, "a_1": 3}]
