"""Layouts are kept and never believed: the same picture, or new clips placed where they belong."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from kinestore.pipeline.projection import UmapConfig, UmapResult, layout, layout_cache, umap
from kinestore.pipeline.projection.layout import compute_layout
from kinestore.pipeline.projection.out_of_sample import place
from kinestore.pipeline.projection.reducer import project, standardize
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Features, Store
from kinestore.store.io.cache_marks import marked_name
from kinestore.store.io.mapped_array import create_array
from tests.helpers.mapped import add_clips, vectors
from tests.helpers.stored import small_disk


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Forty clips, with even numbers: what is added later comes between them."""
    return add_clips(tmp_path / "store", range(0, 80, 2))


def files(store: Store) -> list[Path]:
    return sorted((store.path / "cache").glob("layout-*.h5"))


def draw(store: Store, out: Path, features: str = "a", **options: Any) -> UmapResult:
    return umap(store.load(features), store=store, out=out, config=UmapConfig(**options))


def points_of(store: Store, features: str = "a", **options: Any) -> dict[str, list[float]]:
    loaded = store.load(features)
    laid = compute_layout([loaded], **{"seed": 0, "root": store.path, **options})
    return dict(zip(loaded.clip_ids, laid.points.tolist(), strict=True))


@contextmanager
def nothing_laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> NDArray[np.float32]:
        raise AssertionError("laid out")

    with monkeypatch.context() as patch:
        patch.setattr(layout, "project", refuse)
        yield


# The same clips.


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_the_common_clips_again_are_read_and_drawn_with_the_same_bytes(
    suffix: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fresh = umap(store.load("a"), out=tmp_path / f"fresh{suffix}").path.read_bytes()
    assert not (store.path / "cache").exists()
    first = draw(store, tmp_path / f"first{suffix}").path.read_bytes()
    assert len(files(store)) == 1
    with nothing_laid_out(monkeypatch):
        second = draw(store, tmp_path / f"second{suffix}").path.read_bytes()
    assert fresh == first == second
    assert (
        draw(store, tmp_path / f"third{suffix}", recompute_layout=True).path.read_bytes() == fresh
    )
    assert len(files(store)) == 1


def test_another_seed_view_pool_or_vector_has_a_layout_of_its_own(store: Store) -> None:
    first = points_of(store)
    assert points_of(store, seed=1) != first
    add_clips(store.path, range(0, 80, 2), views=["a", "b"])
    assert points_of(store, features="b") != first
    assert len(files(store)) == 3
    loaded = store.load("a")
    for changed in (loaded.features * np.float32(2), loaded.features + np.eye(40, 6, k=3)):
        other = Features(**{**vars(loaded), "features": changed.astype(np.float32)})
        fresh = project(other.features, seed=0)
        np.testing.assert_array_equal(
            compute_layout([other], seed=0, root=store.path).points, fresh
        )


def test_layouts_without_a_seed_or_without_need_are_not_kept(store: Store, tmp_path: Path) -> None:
    draw(store, tmp_path / "map.png", fast=True)
    few = store.load("a").select(np.arange(3))
    umap(few, store=store, out=tmp_path / "map.png")
    assert not files(store)


# New clips.


def test_old_points_stay_and_the_caption_counts_the_new(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = points_of(store)
    add_clips(store.path, range(1, 21, 2))
    with nothing_laid_out(monkeypatch):
        drawn = draw(store, tmp_path / "map.svg")
        after = points_of(store)
    assert len(after) == 50 and {clip: after[clip] for clip in before} == before
    told = "10 clips placed into a layout of 40"
    assert drawn.panels[0].num_placed == 10 and drawn.caption.endswith(f"seed 0; {told}")
    of = "{http://purl.org/dc/elements/1.1/}description"
    described = next(ElementTree.parse(drawn.path).iter(of))
    assert told in (described.text or "")
    # Read, not placed again: the same bytes.
    monkeypatch.setattr(layout, "place", None)
    again = draw(store, tmp_path / "again.svg")
    assert again.path.read_bytes() == drawn.path.read_bytes()


def test_a_fifth_may_be_new_and_one_more_may_not(store: Store) -> None:
    points_of(store)
    add_clips(store.path, range(1, 21, 2))
    loaded = store.load("a")
    assert compute_layout([loaded], seed=0, root=store.path).num_placed == 10  # of 50
    add_clips(store.path, [21])
    loaded = store.load("a")  # 11 of 51: what was placed before is no layout to place into
    laid = compute_layout([loaded], seed=0, root=store.path)
    assert laid.num_placed == 0
    np.testing.assert_array_equal(laid.points, project(loaded.features, seed=0))
    add_clips(store.path, [23])
    assert (
        compute_layout([store.load("a")], seed=0, root=store.path).num_placed == 1
    )  # into the largest


def test_fewer_clips_than_were_laid_out_are_laid_out_afresh(store: Store) -> None:
    points_of(store)
    fewer = store.load("a").select(np.arange(39))
    laid = compute_layout([fewer], seed=0, root=store.path)
    assert laid.num_placed == 0
    np.testing.assert_array_equal(laid.points, project(fewer.features, seed=0))


def test_what_is_asked_for_afresh_takes_the_place_of_what_was_placed(
    store: Store, tmp_path: Path
) -> None:
    points_of(store)
    add_clips(store.path, [1, 3, 5])
    assert draw(store, tmp_path / "map.png").panels[0].num_placed == 3
    fresh = umap(store.load("a"), out=tmp_path / "fresh.png").path.read_bytes()
    for recompute in (True, False):
        drawn = draw(store, tmp_path / "map.png", recompute_layout=recompute)
        assert drawn.panels[0].num_placed == 0 and "placed" not in drawn.caption
        assert drawn.path.read_bytes() == fresh


def test_a_snapshot_is_a_layout_that_what_came_later_is_placed_into(
    store: Store, tmp_path: Path
) -> None:
    store.take_snapshot("first")
    add_clips(store.path, [1, 3])
    drawn = draw(Store(store.path, snapshot="first"), tmp_path / "map.png")
    assert drawn.snapshot == "first" and "40 clips of snapshot first; UMAP" in drawn.caption
    grown = draw(store, tmp_path / "map.png")
    assert grown.panels[0].num_placed == 2 and "snapshot" not in grown.caption


def test_each_panel_tells_its_own_growth(tmp_path: Path) -> None:
    store = add_clips(tmp_path / "store", range(40), views=["a", "b"])
    points_of(store, "b")
    add_clips(store.path, [40], views=["a", "b"])
    both = [store.load("a"), store.load("b")]
    caption = umap(both, store=store, out=tmp_path / "map.png").caption
    assert caption.endswith("seed 0; (b)\N{NO-BREAK SPACE}1 clip placed into a layout of 40")
    add_clips(store.path, [41], views=["a", "b"])
    both = [store.load("a"), store.load("b")]
    caption = umap(both, store=store, out=tmp_path / "map.png").caption
    assert caption.endswith(
        "seed 0; (a)\N{NO-BREAK SPACE}1 clip placed into a layout of 41; "
        "(b)\N{NO-BREAK SPACE}2 clips placed into a layout of 40"
    )
    points_of(store, "b", recompute=True)
    points_of(store, "a", recompute=True)
    add_clips(store.path, [42], views=["a", "b"])
    both = [store.load("a"), store.load("b")]
    caption = umap(both, store=store, out=tmp_path / "map.png").caption
    assert caption.endswith("seed 0; 1 clip placed into a layout of 42")


# Where the new clips are.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_placing_is_as_trustworthy_as_the_model_that_laid_out(seed: int) -> None:
    from umap import UMAP

    rows = list(range(360))
    old, new = vectors(rows[:300], width=12, seed=seed), vectors(rows[300:], width=12, seed=seed)
    model = UMAP(n_neighbors=15, min_dist=0.1, random_state=seed, n_jobs=1)
    points = np.asarray(model.fit_transform(old), dtype=np.float32)
    expected = np.asarray(model.transform(new))
    found = place(new, among=old, points=points, seed=seed)
    # Rounding in the distances is carried on by a hundred rounds of descent.
    assert np.median(np.linalg.norm(found - expected, axis=1)) < 0.05
    for placed in (found, expected):
        labels = np.arange(300, 360) % 8
        nearest = np.linalg.norm(placed[:, None] - points, axis=2).argmin(axis=1)
        np.testing.assert_array_equal(nearest % 8, labels)
    both = [
        trustworthiness(np.concatenate([old, new]), np.concatenate([points, placed]), n_neighbors=5)
        for placed in (found, expected)
    ]
    assert both[0] == pytest.approx(both[1], abs=0.002) and both[0] > 0.9


def test_new_clips_have_the_units_of_the_old() -> None:
    # The old have mean 1 and deviation 1: 5 lies four deviations away, whatever it is among.
    rows = np.array([[0.0], [2.0], [5.0], [1e30]], dtype=np.float32)
    scaled = standardize(rows, by=np.array([0, 1]))
    assert scaled.ravel().tolist() == [-1, 1, 4, 1e6]  # bounded, so that distances stay numbers


@pytest.mark.parametrize("num_old", [4, 5, 15, 16])
def test_few_and_equal_clips_are_placed_too(num_old: int) -> None:
    old = np.repeat(vectors([0, 1], width=3), num_old, axis=0)[:num_old]
    old[-1] += 1
    points = np.random.default_rng(0).standard_normal((num_old, 2)).astype(np.float32)
    placed = place(old[-1:], among=old, points=points, seed=0)
    assert placed.shape == (1, 2) and np.isfinite(placed).all()


# Nothing in a file is believed.


def rewrite(path: Path, **changes: Any) -> None:
    """Another layout under a name that fits its bytes."""
    found = layout_cache._read(path)
    assert found is not None
    told: dict[str, Any] = {
        "clip_ids": found.clip_ids,
        "points": found.points,
        "note": None,
        "array": "points",
    }
    told["note"] = json.dumps([found.features, found.num_placed])
    told |= changes
    points = told["points"]
    path.unlink()
    made = path.with_name("made.h5")
    fill, shape = partial(np.copyto, src=points), points.shape[1:]
    create_array(
        made, told["array"], told["clip_ids"], shape, points.dtype, fill=fill, note=told["note"]
    )
    made.rename(path.with_name(marked_name(made, path.name[:23])))


def grid(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, dtype=np.float32)


def with_value(value: float) -> NDArray[np.float32]:
    points = grid(40, 1, 2)
    points[7, 0, 1] = value
    return points


@pytest.mark.parametrize(
    "changes",
    [
        {"points": with_value(np.nan)},
        {"points": with_value(-np.inf)},
        {"points": with_value(1e9)},
        {"points": grid(40, 2)},
        {"points": grid(40, 2, 2)},
        {"points": grid(40, 1, 3)},
        {"points": grid(40, 1, 2).astype(np.float64)},
        {"points": grid(39, 1, 2), "clip_ids": [f"{row:032x}" for row in range(0, 78, 2)]},
        {"clip_ids": [f"{0:032x}"] * 40},
        {"clip_ids": [f"{row + 1:032x}" for row in range(40)]},
        {"note": json.dumps(["0" * 64, 0])},
        {"note": json.dumps([0, -1])},
        {"note": json.dumps([None, 40])},
        {"note": json.dumps(["", True])},
        {"note": json.dumps({"a": 0, "b": 1})},
        {"note": "[" * 100_000},
        {"note": "nonsense"},
        {"array": "other"},
    ],
)
def test_a_layout_that_cannot_be_is_passed_over(changes: dict[str, Any], store: Store) -> None:
    expected = points_of(store)
    (path,) = files(store)
    rewrite(path, **changes)
    assert files(store) != [path] and verify(store.path).sound  # its bytes are what its name says
    assert points_of(store) == expected and path in files(store)


@pytest.mark.parametrize("spoil", ["byte", "cut", "empty", "folder", "pipe", "link", "absent"])
def test_a_file_that_is_broken_is_passed_over_and_repaired(spoil: str, store: Store) -> None:
    expected = points_of(store)
    (path,) = files(store)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.unlink()
    if spoil in ("byte", "cut", "empty"):
        path.write_bytes({"byte": bytes(raw), "cut": bytes(raw[:-1]), "empty": b""}[spoil])
    elif spoil == "folder":
        path.mkdir()
    elif spoil == "pipe":
        os.mkfifo(path)
    elif spoil == "link":
        path.symlink_to("nowhere.h5")
    if spoil not in ("absent", "folder"):
        assert [finding.kind for finding in verify(store.path).findings] == ["broken-cache"]
    assert points_of(store) == expected
    if spoil != "folder":
        assert layout_cache._read(path) is not None and verify(store.path).sound


def test_a_changed_byte_is_told_and_dropped(store: Store) -> None:
    points_of(store)
    assert verify(store.path).findings == ()
    (path,) = files(store)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    report = verify(store.path, repair=True)
    assert [finding.kind for finding in report.findings] == ["broken-cache"]
    assert report.sound and not files(store)


# Where nothing can be kept.


def test_a_full_disk_costs_the_layout_alone(store: Store) -> None:
    with small_disk():
        found = points_of(store)
    assert not files(store) and not list((store.path / "cache").iterdir())
    assert points_of(store) == found


def test_a_folder_that_cannot_be_written_costs_the_layout_alone(store: Store) -> None:
    (store.path / "cache").write_text("in the way\n")  # root may write to what is read-only
    found = points_of(store)
    (store.path / "cache").unlink()
    assert points_of(store) == found and len(files(store)) == 1


def test_the_oldest_of_many_layouts_are_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_cache, "MOST_KEPT", 3)
    for age, seed in enumerate(range(4)):
        points_of(store, seed=seed)
        for path in files(store):
            stamp = path.stat().st_mtime_ns - 10**9
            os.utime(path, ns=(stamp, stamp))
        assert len(files(store)) == min(age + 1, 3)
    assert not list((store.path / "cache").glob(f"*{layout_cache.key_of([['a']], seed=0)}*"))


def test_a_copied_cache_serves_the_copied_store(store: Store, tmp_path: Path) -> None:
    points_of(store)
    shutil.copytree(store.path, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    assert points_of(copy) == points_of(store) and len(files(copy)) == 1
