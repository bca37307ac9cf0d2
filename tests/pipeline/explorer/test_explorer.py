"""The explorer's file: what it refuses, what is in it, and that it is the same each time."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestore.pipeline.explorer import Page, write_explorer
from kinestore.pipeline.explorer.html_file import bundle
from kinestore.pipeline.plotting.legend import NUM_STYLES, style
from kinestore.store import UsageError
from tests.helpers.paths import ROOT


@pytest.fixture
def page() -> Page:
    """Three clips; the second has no label, the third is predicted wrongly."""
    return Page(
        title="Three clips",
        caption="motion@1",
        points=np.array([[0, 0], [1, 0], [0, 2]], dtype=np.float32),
        clip_ids=["a" * 32, "b" * 32, "c" * 32],
        uris=["s3://films/run/1.avi", "s3://films/run/2.avi", "3.avi"],
        columns={"label": ["run", None, "walk"], "group": ["g1", "g1", "g2"]},
        color="label",
        captions=["a man runs", None, "a man walks"],
        thumbnails={"a" * 32: b"RIFF"},
        neighbors=np.array([[1, 2], [0, 2], [1, 0]], dtype=np.int32),
        predicted=["run", "run", "run"],
        confidence=[0.9, None, 0.5],
    )


class Parts(HTMLParser):
    """The text of each script and style by its id or tag, and the policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.policy = ""
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"] or ""
        self._inside = (told.get("id") or tag) if tag in ("script", "style") else None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[self._inside] = self.found.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = None


def parts(page: Page, folder: Path) -> Parts:
    write_explorer(page, folder / "page.html")
    return Parts((folder / "page.html").read_text(encoding="utf-8"))


def told(page: Page, folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(parts(page, folder).found["data"])
    return loaded


def unpacked(array: dict[str, str]) -> list[float]:
    dtype = {"Float32Array": "<f4", "Uint16Array": "<u2", "Uint32Array": "<u4"}[array["type"]]
    return [float(one) for one in np.frombuffer(base64.b64decode(array["base64"]), dtype)]


def names(column: dict[str, Any]) -> list[str | None]:
    return [column["names"][int(code)] for code in unpacked(column["codes"])]


def test_the_page_tells_what_it_was_given(page: Page, tmp_path: Path) -> None:
    data = told(page, tmp_path)
    assert unpacked(data["points"]) == [0, 0, 1, 0, 0, 2]
    assert data["clipIds"] == page.clip_ids
    assert names(data["folders"]) == ["s3://films/run/", "s3://films/run/", ""]
    assert data["files"] == ["1.avi", "2.avi", "3.avi"]
    assert data["captions"] == page.captions
    assert unpacked(data["neighbors"]) == [1, 2, 0, 2, 1, 0]
    confidence = unpacked(data["confidence"])
    assert confidence[0] == pytest.approx(0.9) and np.isnan(confidence[1])  # float32
    columns = {column["name"]: names(column) for column in data["columns"]}
    assert columns["label"] == ["run", None, "walk"]
    assert columns["group"] == ["g1", "g1", "g2"]
    assert columns["prediction"] == ["run", "run", "run"]
    assert columns["outcome"] == ["right", None, "wrong"]  # nothing is known of the unlabeled one


def test_without_a_run_there_is_no_outcome(page: Page, tmp_path: Path) -> None:
    data = told(replace(page, predicted=(), confidence=()), tmp_path)
    assert [column["name"] for column in data["columns"]] == ["label", "group"]
    assert not data["scored"]


def test_names_get_the_colours_and_markers_that_they_have_on_paper(
    page: Page, tmp_path: Path
) -> None:
    looks = told(page, tmp_path)["styles"]
    assert [tuple(look) for look in looks] == [style(number) for number in range(NUM_STYLES)]


def test_thumbnails_are_a_line_for_each_clip(page: Page, tmp_path: Path) -> None:
    lines = parts(page, tmp_path).found["thumbnails"].split("\n")
    assert lines == [base64.b64encode(b"RIFF").decode(), "", ""]


def test_the_same_page_gives_the_same_bytes(page: Page, tmp_path: Path) -> None:
    write_explorer(page, tmp_path / "1.html")
    write_explorer(replace(page), tmp_path / "new" / "folder" / "2.html")
    written = (tmp_path / "1.html").read_bytes()
    assert written == (tmp_path / "new" / "folder" / "2.html").read_bytes()


def test_the_policy_lets_nothing_but_its_own_script_and_style_in(
    page: Page, tmp_path: Path
) -> None:
    read = parts(page, tmp_path)
    rules = dict(rule.split(" ", 1) for rule in read.policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for rule, element in (("script-src", "script"), ("style-src", "style")):
        digest = hashlib.sha256(read.found[element].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_no_address_of_a_network_is_in_the_page(page: Page, tmp_path: Path) -> None:
    write_explorer(replace(page, uris=["1.avi", "2.avi", "3.avi"]), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?://|//[a-z]+\.", text)


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028\u2029", "\ud800", "a\0b"]
)
def test_no_name_leaves_its_place(page: Page, tmp_path: Path, name: str) -> None:
    hostile = replace(
        page,
        title=name,
        caption=name,
        uris=[f"{name}/{name}"] * 3,
        columns={"label": [name] * 3, name: [name, None, ""]},
        captions=[name] * 3,
        predicted=[name] * 3,
    )
    read = parts(hostile, tmp_path)
    assert set(read.found) == {"style", "data", "thumbnails", "script"}
    data = json.loads(read.found["data"])
    assert data["captions"] == [name] * 3
    assert data["columns"][1]["name"] == name


def test_modules_are_joined_each_once_and_after_what_they_import() -> None:
    script = bundle("main.js")
    opened = re.findall(r'^modules\["(\w+\.js)"\] = ', script, re.MULTILINE)
    assert len(opened) == len(set(opened)) and opened[-1] == "main.js"
    folder = ROOT / "kinestore" / "pipeline" / "explorer" / "assets"
    assert set(opened) == {path.name for path in folder.glob("*.js")}  # none is forgotten
    for wanted in re.finditer(r'= modules\["(\w+\.js)"\];', script):
        declared = script.index(f'modules["{wanted[1]}"] = ')
        assert declared < wanted.start()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points": np.zeros((3, 3), np.float32)}, r"points: shape \(3, 3\), must be \(N, 2\)"),
        ({"points": np.zeros((0, 2), np.float32)}, r"points: shape \(0, 2\), must be \(N, 2\)"),
        ({"points": np.full((3, 2), np.nan, np.float32)}, "points: must be finite"),
        ({"clip_ids": ["a", "b"]}, "clip_ids: 2 values, must be one for each of the 3 points"),
        ({"uris": ["a"]}, "uris: 1 values, must be one for each of the 3 points"),
        ({"columns": {"label": ["a"] * 4}}, r"columns\['label'\]: 4 values"),
        ({"captions": ["a"]}, "captions: 1 values"),
        ({"predicted": ["a"]}, "predicted: 1 values"),
        ({"confidence": [0.5]}, "confidence: 1 values"),
        ({"confidence": [0.5, 1.5, 0]}, "confidence: must be 0 to 1"),
        ({"confidence": [0.5, float("nan"), 0]}, "confidence: must be 0 to 1"),
        ({"color": "size"}, "color='size': must be one of label, group"),
        (
            {"columns": {"group": ["a"] * 3}, "color": "group"},
            "predicted: needs a column label, to show which predictions are wrong",
        ),
        ({"neighbors": np.zeros((2, 1), np.int32)}, r"neighbors: shape \(2, 1\), must be \(3, K\)"),
        ({"neighbors": np.full((3, 1), 3, np.int32)}, "neighbors: must be rows, 0 to 2"),
        ({"neighbors": np.full((3, 1), -1, np.int32)}, "neighbors: must be rows, 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(page: Page, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(page, **changed)
