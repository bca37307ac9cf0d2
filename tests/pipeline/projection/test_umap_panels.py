"""Maps of several panels: which clips they show, what they say of them, and the command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.projection import UmapConfig, umap
from kinestore.pipeline.projection.common_clips import common_clips
from kinestore.pipeline.projection.quality import measure
from kinestore.pipeline.projection.reducer import project, standardize
from kinestore.store import Clip, Embedding, Source, Store, UsageError, ViewSpec
from tests.helpers.mapped import legend_words, make, num_points, watch, words
from tests.helpers.stored import INFO


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return watch(monkeypatch)


# Which clips, and what is told of them.


def test_panels_show_the_clips_that_every_feature_has(
    figures: list[Figure], tmp_path: Path
) -> None:
    first = make(range(20), name="a")
    second = replace(make([*range(25, 4, -1)], name="b", width=9), missing=[f"{99:032x}"])
    cut, num_left_out = common_clips([first, second])
    shared = [f"{row:032x}" for row in range(5, 20)]
    assert [one.clip_ids for one in cut] == [shared, shared]
    np.testing.assert_array_equal(cut[0].features, first.features[5:20])
    # Rows 25, 24, ..., 5 are numbered from 0: that of clip 5 is number 20, that of 19 number 6.
    np.testing.assert_array_equal(cut[1].features, second.features[20:5:-1])
    np.testing.assert_array_equal(cut[1].labels, cut[0].labels)
    assert num_left_out == 5 + 6 + 1  # 0 to 4, 20 to 25, and the one that no row was loaded for
    thrice, _ = common_clips([first, second, make([3, 9, 7, 22])])
    assert [one.clip_ids for one in thrice] == [[f"{row:032x}" for row in (7, 9)]] * 3

    drawn = umap([first, second], out=tmp_path / "map.png")
    assert (drawn.num_clips, drawn.num_left_out) == (15, 12)
    assert [panel.num_features for panel in drawn.panels] == [6, 9]
    assert [num_points(axes) for axes in figures[0].axes] == [15, 15]
    assert "15 clips, without 12 that lack a view; UMAP" in "\n".join(words(figures[0]))


def test_one_feature_tells_what_its_views_lack(tmp_path: Path) -> None:
    features = replace(make(range(6)), missing=[f"{99:032x}"])
    drawn = umap(features, out=tmp_path / "map.svg")
    assert drawn.num_left_out == 1 and "6 clips, without 1 that lacks a view" in drawn.caption
    assert "without" not in umap(make(range(6)), out=tmp_path / "map.svg").caption


def test_classes_are_those_of_every_panel(figures: list[Figure], tmp_path: Path) -> None:
    both = [make(range(24), name="a", classes="xyz"), make(range(24), name="b", classes="xyz")]
    drawn = umap(both, out=tmp_path / "map.png", config=UmapConfig(classes=["z", "x"]))
    assert drawn.num_clips == 16 and legend_words(figures[0]) == ["x", "z"]
    assert all(len(axes.lines) == 2 for axes in figures[0].axes)


def test_each_panel_is_the_one_drawn_alone(figures: list[Figure], tmp_path: Path) -> None:
    both = [make(range(20), name="a"), make(range(20), name="b", seed=1)]
    drawn = umap(both, out=tmp_path / "map.png", config=UmapConfig(seed=3))
    for number, one in enumerate(both):
        points = project(one.features, seed=3)
        quality = measure(standardize(one.features), points, one.labels, seed=3)
        assert drawn.panels[number].quality == quality
        shown = [line.get_xydata() for line in figures[0].axes[number].lines]
        np.testing.assert_array_equal(shown[0], points[0::2])
        np.testing.assert_array_equal(shown[1], points[1::2])


def test_requests_for_panels_that_cannot_be_drawn_are_sentences(tmp_path: Path) -> None:
    one, broken = make(range(12), name="fine"), make(range(12), name="broken")
    broken.features[3, 1] = np.nan
    with pytest.raises(UsageError, match=r"^broken@0123.*: features: 1 of 12 rows hold NaN"):
        umap([one, broken], out=tmp_path / "map.png")
    equal = replace(one, features=np.ones((12, 3), np.float32))
    with pytest.raises(UsageError, match=r"^features: all 12 rows are equal"):
        umap(equal, out=tmp_path / "map.png")
    with pytest.raises(UsageError, match=r"features: no clip has all of fine@.*; other@"):
        umap([one, make(range(12, 20), name="other")], out=tmp_path / "map.png")
    with pytest.raises(UsageError, match="a page shows one panel; draw the 2 one at a time"):
        umap([one, one], out=tmp_path / "map.html")
    with pytest.raises(UsageError, match="13 panels, must be 1 to 12"):
        umap([one] * 13, out=tmp_path / "map.png")
    with pytest.raises(UsageError, match="0 panels, must be 1 to 12"):
        umap([], out=tmp_path / "map.png")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("num_clips", [1, 2, 3])
def test_very_few_clips_have_a_map_with_dashes(
    num_clips: int, figures: list[Figure], tmp_path: Path
) -> None:
    umap([make(range(num_clips)), make(range(num_clips), name="b")], out=tmp_path / "map.png")
    told = words(figures[0])
    dashes = "silhouette -, 5-NN -, trust -"
    # Three clips of two labels have a silhouette.
    assert told.count(dashes) == (0 if num_clips == 3 else 2)
    assert any("trust -" in text for text in told)
    assert any("Principal axes" in text for text in told)
    equal = replace(make(range(num_clips)), features=np.ones((num_clips, 3), np.float32))
    umap(equal, out=tmp_path / "equal.png")
    assert dashes in words(figures[1])


# Words.


def test_a_map_says_what_it_shows(figures: list[Figure], tmp_path: Path) -> None:
    joined = replace(make(range(20)), views=["blip@00112233aabbccdd", "slow@ffeeddcc99887766"])
    drawn = umap(
        [joined, make(range(20), name="b")], out=tmp_path / "map.png", config=UmapConfig(seed=7)
    )
    told = [text.replace("\n", " ") for text in words(figures[0])]
    assert {"20 clips by label", "(a) blip + slow", "(b) b"} <= set(told)
    quality = drawn.panels[1].quality
    assert quality.silhouette is not None and quality.knn_accuracy is not None
    note = f"silhouette {quality.silhouette:.2f}, 5-NN {quality.knn_accuracy:.2f}, trust "
    assert any(text.startswith(note) for text in told)
    caption = told[-1]
    assert "blip@00112233aabbccdd + slow@ffeeddcc99887766, 6 features" in caption
    assert "20 clips; UMAP" in caption and "n_neighbors 15, min_dist 0.1, seed 7" in caption
    assert "sample" not in caption


def test_a_negative_figure_has_a_minus_and_a_sample_is_told(
    figures: list[Figure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kinestore.pipeline.projection.draw_umap.MOST_MEASURED", 12)
    monkeypatch.setattr("kinestore.pipeline.projection.quality.MOST_MEASURED", 12)
    mixed = replace(make(range(20)), labels=np.arange(20) // 2 % 2)
    drawn = umap(mixed, out=tmp_path / "map.png")
    assert drawn.num_measured == 12 and (drawn.panels[0].quality.silhouette or 0) < -0.005
    told = "\n".join(words(figures[0]))
    assert "silhouette \N{MINUS SIGN}0." in told and "on a sample of 12 clips" in told


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_file_carries_what_it_shows_and_no_date(suffix: str, tmp_path: Path) -> None:
    path = umap(make(range(20)), out=tmp_path / f"map{suffix}", config=UmapConfig(seed=5)).path
    if suffix == ".png":
        with Image.open(path) as image:
            told: dict[str, str] = dict(image.text)  # type: ignore[attr-defined]
        assert set(told) == {"Title", "Description", "Software"}
    elif suffix == ".svg":
        of = "{http://purl.org/dc/elements/1.1/}"
        nodes = [node for node in ElementTree.parse(path).iter() if node.tag.startswith(of)]
        told = {}
        for node in nodes:  # the creator's name is a title too, further down
            told.setdefault(node.tag.removeprefix(of).title(), "".join(node.itertext()))
        assert set(told) >= {"Title", "Description", "Creator"} and "Date" not in told
    else:
        content = path.read_bytes()
        assert b"Date" not in content
        # Texts of a PDF are UTF-16 where they hold more than ASCII: a minus, or a dash.
        whole = content.decode("latin-1") + content.replace(b"\0", b"").decode("latin-1")
        told = {"Title": whole, "Description": whole, "Creator": whole}
    assert "20 clips by label" in told["Title"]
    for part in ("made@0123456789abcdef", "n_neighbors 15", "seed 5", "20 clips", "silhouette"):
        assert part in told["Description"]
    assert any("Kinestore" in text for text in told.values())


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_seed_and_arguments_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    both = [make(range(20), name="a"), make(range(2, 22), name="b", width=9)]
    first = umap(both, out=tmp_path / f"first{suffix}", config=UmapConfig(seed=1)).path.read_bytes()
    assert (
        umap(both, out=tmp_path / f"second{suffix}", config=UmapConfig(seed=1)).path.read_bytes()
        == first
    )
    assert (
        umap(both, out=tmp_path / f"third{suffix}", config=UmapConfig(seed=2)).path.read_bytes()
        != first
    )


def test_fast_takes_no_seed_and_all_cores_and_says_so(
    figures: list[Figure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from umap import UMAP

    asked: list[tuple[object, object]] = []

    def spy(**settings: Any) -> Any:
        asked.append((settings["random_state"], settings["n_jobs"]))
        return UMAP(**settings)

    monkeypatch.setattr("umap.UMAP", spy)
    drawn = umap(make(range(20)), out=tmp_path / "map.png", config=UmapConfig(fast=True))
    umap(make(range(20)), out=tmp_path / "map.png", config=UmapConfig(seed=4))
    assert drawn.fast and asked == [(None, -1), (4, 1)]
    fast, seeded = (words(figure)[-1].replace("\n", " ") for figure in figures)
    assert "all cores, no seed: each run differs" in fast and "seed 0" not in fast
    assert "seed 4" in seeded and "cores" not in seeded


# The command.


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store of 24 clips of two labels with views `a` and `b`; the last two lack `b`."""
    store = Store.create(tmp_path / "stored")
    rng = np.random.default_rng(0)
    names = [f"{number:032x}" for number in range(24)]
    store.append_clips(
        [
            Clip(clip_id=name, source=Source(uri=f"/v/{i}.avi", label="xy"[i % 2]), info=INFO)
            for i, name in enumerate(names)
        ]
    )
    for view, kept in (("a", names), ("b", names[:-2])):
        embeddings = [
            Embedding(
                vector=rng.standard_normal(8).astype(np.float32) + 3 * (number % 2),
                frame_index=np.arange(1),
                pts_s=np.zeros(1),
            )
            for number in range(len(kept))
        ]
        store.append(ViewSpec(extractor=view, shape=(8,), settings={}), kept, embeddings)
    return store.path


def answer(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["umap", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_command_draws_a_panel_for_each_features(stored: Path, tmp_path: Path) -> None:
    job = (stored, "--features", "a", "--features", "a,b", "--out", tmp_path / "map.png")
    told = json.loads(answer(*job, "--json"))
    assert told["path"] == str(tmp_path / "map.png") and (tmp_path / "map.png").exists()
    assert (told["num_clips"], told["num_left_out"], told["seed"]) == (22, 2, 0)
    loaded = [Store(stored).load(["a"]), Store(stored).load(["a", "b"])]
    expected = umap(loaded, out=tmp_path / "again.png")
    assert [panel["views"] for panel in told["panels"]] == [one.views for one in loaded]
    assert [panel["quality"] for panel in told["panels"]] == [
        vars(panel.quality) for panel in expected.panels
    ]
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()
    said = " ".join(answer(*job).split())
    assert "Map of 22 clips written to" in said and "2 left out (feature missing)" in said


def test_the_command_counts_what_is_left_out_among_the_labels_asked_for(
    stored: Path, tmp_path: Path
) -> None:
    job = (stored, "--features", "b", "--classes", "x", "--out", tmp_path / "map.png", "--json")
    told = json.loads(answer(*job))
    assert (told["num_clips"], told["num_left_out"]) == (11, 1)
    assert told["panels"][0]["quality"]["silhouette"] is None  # one label
    assert json.loads(answer(*job, "--fast"))["fast"] is True


def test_the_command_says_that_a_page_shows_one_panel(stored: Path, tmp_path: Path) -> None:
    job = ["umap", str(stored), "--features", "a", "--features", "b", "--out"]
    with pytest.raises(UsageError, match="a page shows one panel; draw the 2 one at a time"):
        CliRunner().invoke(app, [*job, str(tmp_path / "map.html")], catch_exceptions=False)
