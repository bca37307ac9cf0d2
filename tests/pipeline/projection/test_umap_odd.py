"""Stores that nobody would draw, by the command: a map or one sentence, and never a traceback."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.projection.reducer import project
from kinestore.store import Store, UsageError, ViewSpec
from kinestore.store.parts import digest
from tests.helpers.mapped import legend_words, watch, words
from tests.helpers.stored import clip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return watch(monkeypatch)


def stored(path: Path, vectors: NDArray[np.float32], labels: Sequence[str | None]) -> Store:
    store = Store.create(path)
    names = [f"{row:032x}" for row in range(len(vectors))]
    store.append_clips([clip(n, label=label) for n, label in zip(names, labels, strict=True)])
    store.append(ViewSpec(extractor="a", shape=vectors.shape[1:], settings={}), names, vectors)
    return store


def run(store: Store, out: Path) -> subprocess.CompletedProcess[str]:
    """The command as a person gives it."""
    command = [sys.executable, "-m", "kinestore", "umap", str(store.path), "--features", "a"]
    return subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False, timeout=300
    )


def answer(store: Store, out: Path, *more: str) -> str:
    """The same in this process, where UMAP is compiled once."""
    job = ["umap", str(store.path), "--features", "a", "--out", str(out), *more]
    done = CliRunner().invoke(app, job, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def spread(num_rows: int, width: int = 4) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((num_rows, width)).astype(np.float32)


@pytest.mark.parametrize(("num_clips", "suffix"), [(1, ".png"), (2, ".html")])
def test_one_clip_or_two_are_drawn_without_a_warning(
    num_clips: int, suffix: str, tmp_path: Path
) -> None:
    store = stored(tmp_path / "store", spread(num_clips), ["run", None][:num_clips])
    done = run(store, tmp_path / f"map{suffix}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Map of {num_clips} clips written to" in done.stdout
    for other in (".svg", ".html"):
        answer(store, tmp_path / f"map{other}")


def test_equal_clips_are_a_sentence(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", np.ones((9, 4), np.float32), "x" * 9)
    done = run(store, tmp_path / "m.png")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("kinestore: features: all 9 rows are equal")
    assert "Traceback" not in done.stderr and not (tmp_path / "m.png").exists()


def test_numbers_that_are_none_are_a_sentence(tmp_path: Path) -> None:
    # A store takes none; somebody else's part may hold some, under a name that fits its bytes.
    store = stored(tmp_path / "store", spread(9), "x" * 9)
    (path,) = (store.path / "views" / store.view("a").name).glob("*.parquet")
    table = pq.read_table(path)
    values = np.array(table.column("embedding").to_pylist(), dtype=np.float32)
    values[4, 2], values[7, 0] = np.nan, np.inf
    column = table.schema.get_field_index("embedding")
    field = table.schema.field("embedding")
    flat = pa.array(values.ravel(), pa.float32())
    storage = pa.FixedSizeListArray.from_arrays(flat, 4)
    broken = table.set_column(column, field, storage.cast(field.type))
    pq.write_table(broken, tmp_path / "made.parquet")
    named = digest(tmp_path / "made.parquet")[:16]
    (tmp_path / "made.parquet").rename(path.with_name(f"{path.name[:6]}{named}.parquet"))
    path.unlink()
    done = run(store, tmp_path / "m.html")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "has embeddings with values that are not finite; `kinestore verify" in done.stderr


def test_frames_whose_mean_is_no_number_are_a_sentence(tmp_path: Path) -> None:
    largest = np.full((9, 3, 4), np.finfo(np.float32).max)  # the sum of two is infinite
    store = stored(tmp_path / "store", largest, "x" * 9)
    message = "9 of 9 rows hold NaN or infinity; extract those clips again"
    with np.errstate(over="ignore"), pytest.raises(UsageError, match=message):
        answer(store, tmp_path / "m.html")


NAMES = [
    "run, fast",
    'say "no"',
    "it's",
    "العربية",
    "🏃‍♀️ run",
    "x" * 300,
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "$x^2$",
    "two\nlines",
    "[bold]rich[/bold]",
    " ",
]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_names_of_any_kind_are_drawn_as_they_are_and_the_same_twice(
    suffix: str, figures: list[Figure], tmp_path: Path
) -> None:
    store = stored(tmp_path / "store", spread(48), NAMES * 4)
    out = tmp_path / f"map{suffix}"
    told = json.loads(answer(store, out, "--json"))
    assert told["num_clips"] == 48
    first = out.read_bytes()
    answer(store, out, "--afresh")
    assert out.read_bytes() == first
    if suffix == ".html":
        assert b"alert(1)" in first and b"<img src" not in first and b"<script>alert" not in first
        return
    if suffix == ".svg":
        ElementTree.parse(out)
    shown = legend_words(figures[0])
    assert len(shown) == len(NAMES)
    assert {"run, fast", 'say "no"', "العربية", "$x^2$", "[bold]rich[/bold]"} <= set(shown)
    chosen = ("--classes", "run, fast", "--classes", NAMES[6], "--classes", " ", "--json")
    assert json.loads(answer(store, out, *chosen))["num_clips"] == 12


@pytest.mark.parametrize("rank", [1, 2])
def test_clips_on_a_line_or_in_a_plane_are_laid_out_from_their_axes(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from umap import UMAP

    starts: list[object] = []

    def spy(**settings: object) -> object:
        starts.append(settings["init"])
        return UMAP(**settings)

    monkeypatch.setattr("umap.UMAP", spy)
    flat = spread(300, rank)
    turned = flat @ spread(rank, 9)
    for features in (flat, turned.astype(np.float32)):
        points = project(features, seed=0)
        assert trustworthiness(flat, points, n_neighbors=5) > 0.98
    project(spread(300, 3), seed=0)
    assert starts == ["pca", "pca", "spectral"]


@pytest.mark.slow
def test_15_000_labels_of_clips_on_a_line_are_drawn(figures: list[Figure], tmp_path: Path) -> None:
    labels = [f"name {number:05d}" for number in range(15_000)]
    store = stored(tmp_path / "store", spread(15_000, 1), labels)
    told = json.loads(answer(store, tmp_path / "map.png", "--json"))
    assert told["num_clips"] == 15_000 and told["panels"][0]["quality"]["silhouette"] is None
    assert "15,000 labels,\ncolors repeat" in words(figures[0])
    answer(store, tmp_path / "map.html")
    assert (tmp_path / "map.html").stat().st_size < 5e6


def test_a_map_of_a_snapshot_shows_its_clips_and_names_it(
    tmp_path: Path, figures: list[Figure]
) -> None:
    store = stored(tmp_path / "store", spread(3), ["a", "b", "a"])
    store.take_snapshot("before")
    store.append_clips([clip("f" * 32, label="a")])
    store.append(store.view("a").spec, ["f" * 32], spread(1))
    told = answer(store, tmp_path / "map.png", "--snapshot", "before")
    assert told.startswith("Map of 3 clips written to")
    assert "of snapshot before" in " ".join(" ".join(words(figures[-1])).split())
