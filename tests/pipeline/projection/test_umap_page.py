"""What the page for a browser is given: all that the store and a run know of each clip."""

import json
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.explorer import Page, write_explorer
from kinestore.pipeline.projection import UmapConfig, neighbors, umap
from kinestore.pipeline.projection import draw_umap as draw
from kinestore.pipeline.projection.neighbors import nearest
from kinestore.pipeline.projection.reducer import project, standardize
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.video.identity import identify
from kinestore.store import Embedding, Store, UsageError, ViewSpec
from tests.helpers.jobs import federate, train
from tests.helpers.mapped import add_clips, make, vectors
from tests.helpers.numbered import make_video
from tests.helpers.stored import clip
from tests.helpers.trained import SHORT


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """The pages that are written from here on."""
    seen: list[Page] = []

    def keep(page: Page, out: Path) -> None:
        seen.append(page)
        write_explorer(page, out)

    monkeypatch.setattr(draw, "write_explorer", keep)
    return seen


def answer(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["umap", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


class Scripts(HTMLParser):
    """The text of each script by its id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = (dict(attrs).get("id") or "script") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self.found[self._inside] = self.found.get(self._inside, "") + data


@pytest.fixture
def filmed(tmp_path: Path) -> Store:
    """A store of three clips of real files, the first with a caption, the last one's file gone."""
    paths = [make_video(tmp_path / f"{row}.mp4", 12, first=20 * row) for row in range(3)]
    names = [identify(str(path)) for path in paths]
    store = Store.create(tmp_path / "store")
    store.append_clips(
        [clip(name, uri=str(path), label="run") for name, path in zip(names, paths, strict=True)]
    )
    spec = ViewSpec(extractor="blip", shape=(3,), settings={})
    embeddings = [
        Embedding(
            vector=np.eye(3, dtype=np.float32)[row],
            frame_index=np.array([5]),
            pts_s=np.array([0.2]),
            caption="a <b>cat</b>" if row == 0 else None,
        )
        for row in range(3)
    ]
    store.append(spec, names, embeddings)
    paths[2].unlink()
    return store


def test_a_page_has_captions_and_thumbnails_of_the_stores_clips(
    filmed: Store, pages: list[Page], tmp_path: Path
) -> None:
    out = tmp_path / "map.html"
    assert "Map of 3 clips written to" in answer(filmed.path, "--features", "blip", "--out", out)
    loaded = filmed.load("blip")
    (page,) = pages
    assert list(page.clip_ids) == loaded.clip_ids and list(page.uris) == loaded.uris
    captioned = [Path(uri).stem == "0" for uri in page.uris]
    assert page.captions == ["a <b>cat</b>" if one else None for one in captioned]
    shown = {Path(uri).stem for uri, c in zip(page.uris, page.clip_ids, strict=True)
             if c in page.thumbnails}  # fmt: skip
    assert shown == {"0", "1"}
    for picture in page.thumbnails.values():
        with Image.open(BytesIO(picture)) as image:
            assert image.format == "WEBP" and image.size == (64, 64)
    told = json.loads(Scripts(out.read_text(encoding="utf-8")).found["data"])
    assert told["clipIds"] == loaded.clip_ids

    answer(filmed.path, "--features", "blip", "--out", out, "--no-thumbnails")
    assert pages[1].thumbnails == {} and pages[1].captions == page.captions


def test_progress_counts_the_thumbnails(filmed: Store, tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    umap(
        filmed.load("blip"),
        store=filmed,
        progress=lambda *now: told.append(now),
        out=tmp_path / "map.html",
    )
    assert told == [("thumbnails", done, 3) for done in range(1, 4)]


def test_without_a_store_a_page_has_what_features_say(pages: list[Page], tmp_path: Path) -> None:
    features = make(range(24), classes="xyz")
    drawn = umap(
        features,
        out=tmp_path / "new" / "map.html",
        config=UmapConfig(classes=["x", "z"], color="group"),
    )
    (page,) = pages
    assert (tmp_path / "new" / "map.html").exists() and len(page.points) == 16
    assert page.title == "16 clips by group" and page.caption == drawn.caption
    assert page.color == "group" and list(page.columns) == ["label", "group", "split"]
    assert page.columns["label"] == ["x", "z"] * 8 and page.columns["split"] == [None] * 16
    assert (page.captions, page.thumbnails, page.predicted, page.confidence) == ([], {}, [], [])
    chosen = features.select(np.flatnonzero(features.labels != 1))
    np.testing.assert_array_equal(page.points, project(chosen.features, seed=0))


@pytest.mark.parametrize("job", ["train", "federate"])
def test_a_run_gives_predictions_and_clients(job: str, pages: list[Page], tmp_path: Path) -> None:
    store = add_clips(tmp_path / "store", range(48))
    loaded = store.load("a")
    if job == "train":
        train(loaded, out=tmp_path / "run", folds=3, settings=SHORT)
    else:
        federate(loaded, out=tmp_path / "run", clients=3, rounds=1, settings=SHORT)
    add_clips(store.path, [48])
    answer(store.path, "--features", "a", "--out", tmp_path / "map.html", "--run", tmp_path / "run")
    (page,) = pages
    said = read_predictions(tmp_path / "run")
    assert set(page.columns) - {"client"} == {"label", "group", "split"}
    assert ("client" in page.columns) == (job == "federate")
    row_of = {clip_id: row for row, clip_id in enumerate(said.clip_ids)}
    for row, clip_id in enumerate(page.clip_ids):
        if clip_id in row_of:
            assert page.predicted[row] == said.predicted[row_of[clip_id]]
            assert page.confidence[row] == said.confidence[row_of[clip_id]]
        else:
            assert page.predicted[row] is None and page.confidence[row] is None
    assert page.predicted[48] is None and len(row_of) > 0


# Neighbours.


def by_hand(features: Any, num_listed: int) -> list[list[int]]:
    far = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return [list(map(int, np.argsort(row)[:num_listed])) for row in far]


def test_a_page_lists_the_ten_nearest_in_the_standardized_columns(
    pages: list[Page], tmp_path: Path
) -> None:
    features = make(range(30))
    features.features[:, 0] *= 1000  # a unit does not count
    umap(features, out=tmp_path / "map.html")
    found = pages[0].neighbors
    assert found is not None and found.dtype == np.int32 and found.shape == (30, 10)
    assert found.tolist() == by_hand(standardize(features.features).astype(np.float64), 10)


def test_fewer_clips_have_fewer_neighbours() -> None:
    line = np.array([[0], [1], [3]], dtype=np.float32)
    assert nearest(line, seed=0).tolist() == [[1, 2], [0, 2], [1, 0]]
    assert nearest(line[:1], seed=0).shape == (1, 0)
    assert nearest(np.zeros((3, 0), np.float32), seed=0).shape == (3, 0)  # all are equal


@pytest.mark.slow
def test_neighbours_of_very_many_clips_are_nearly_all_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.concatenate([vectors(range(900), width=12), np.ones((40, 12), np.float32)])
    exact = nearest(rows, seed=0)
    monkeypatch.setattr(neighbors, "MOST_EXACT", 100)
    found = nearest(rows, seed=0)
    assert found.shape == (940, 10) and found.dtype == np.int32
    np.testing.assert_array_equal(nearest(rows, seed=0), found)
    assert found.min() >= 0 and not (found == np.arange(940)[:, None]).any()
    shared = [len(set(a) & set(b)) for a, b in zip(found[:900], exact[:900], strict=True)]
    assert np.mean(shared) > 9.5
    assert (found[900:] >= 900).all()  # of equal clips, others of them


def test_extractors_share_a_page_with_a_point_for_each_clip_and_extractor(
    pages: list[Page], tmp_path: Path
) -> None:
    slow, blip = make(range(12), name="slow"), make(range(12), name="blip", seed=1)
    out = tmp_path / "map.html"
    umap([slow, blip], out=out, config=UmapConfig(color="extractor"))
    (page,) = pages
    assert page.points.shape == (24, 2) and page.color == "extractor"
    assert page.columns["extractor"] == ["slow"] * 12 + ["blip"] * 12
    assert list(page.clip_ids) == slow.clip_ids * 2
    assert page.columns["label"][:12] == page.columns["label"][12:]
    assert page.neighbors is not None and len(page.neighbors) == 24
    with pytest.raises(UsageError, match="a page shows one panel"):
        umap([slow, blip], out=out)
