"""The map of a feature: layouts of any size, and plots that show names as text."""

import html
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from kinestore.pipeline.plotting.legend import NUM_STYLES, style
from kinestore.pipeline.projection import UmapConfig, umap
from kinestore.pipeline.projection.reducer import project
from kinestore.store import Features, UsageError
from tests.helpers.mapped import draw


def clusters(num_points: int, num_classes: int, *, width: int = 20) -> NDArray[np.float32]:
    """Points in turn about as many centres, some thirty deviations apart."""
    rng = np.random.default_rng(0)
    centres = 5 * rng.standard_normal((num_classes, width))
    points = centres[np.arange(num_points) % num_classes] + rng.standard_normal((num_points, width))
    return points.astype(np.float32)


def make_features(points: NDArray[np.float32], classes: list[str]) -> Features:
    count = len(points)
    return Features(
        features=points,
        labels=np.arange(count, dtype=np.int64) % len(classes),
        clip_ids=[f"{i:032x}" for i in range(count)],
        groups=[None if i == 0 else f"group{i % 3}" for i in range(count)],
        splits=["test" if i % 5 == 0 else "train" for i in range(count)],
        uris=[f"/videos/<b>{i}.mp4" for i in range(count)],
        classes=classes,
        views=["motion@0123456789abcdef"],
        missing=[],
    )


def test_clusters_stay_apart_and_a_seed_repeats_the_layout() -> None:
    features = clusters(60, 3)
    points = project(features, seed=0)
    assert points.dtype == np.float32 and points.shape == (60, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(distance.argmin(axis=1) % 3, np.arange(60) % 3)
    np.testing.assert_array_equal(project(features, seed=0), points)
    assert not np.array_equal(project(features, seed=1), points)


def test_a_columns_unit_does_not_matter() -> None:
    # Powers of two scale and standardize without rounding: the layout is the same to the bit.
    features = clusters(30, 3)
    units = 2.0 ** np.arange(-10, 10)
    np.testing.assert_array_equal(
        project((features * units).astype(np.float32), seed=0), project(features, seed=0)
    )


def test_columns_that_vary_by_rounding_alone_are_left_out() -> None:
    features = clusters(30, 3)
    noise = 1 + 1e-7 * np.random.default_rng(0).standard_normal((30, 500)).astype(np.float32)
    assert len(np.unique(noise)) > 1
    wide = np.concatenate([features, noise, np.zeros((30, 9), np.float32)], axis=1)
    np.testing.assert_array_equal(
        project(wide.astype(np.float32), seed=0), project(features, seed=0)
    )


@pytest.mark.parametrize("count", [4, 5, 6, 15, 16])
def test_few_points_have_a_layout(count: int) -> None:
    for features in (clusters(count, 2), clusters(count, 1, width=1)):
        points = project(features, seed=0)
        assert points.shape == (count, 2) and np.isfinite(points).all()


def test_many_copies_of_few_points_have_a_layout() -> None:
    assert np.isfinite(project(np.repeat(clusters(2, 2), 10, axis=0), seed=0)).all()


def test_up_to_three_points_keep_every_distance() -> None:
    # Columns (0, 3, 0) and (0, 0, 3) have mean 1 and deviation sqrt(2): differences grow by
    # 1 / sqrt(2), so that the sides of 3, 3 and 3 sqrt(2) become 3/sqrt(2), 3/sqrt(2) and 3.
    points = project(np.array([[0, 0], [3, 0], [0, 3]], dtype=np.float32), seed=0)
    sides = [np.linalg.norm(points[i] - points[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert sides == pytest.approx([3 / 2**0.5, 3 / 2**0.5, 3], rel=1e-6)
    # One column (0, 2) becomes (-1, 1): two apart.
    pair = project(np.array([[0], [2]], dtype=np.float32), seed=0)
    assert np.linalg.norm(pair[0] - pair[1]) == pytest.approx(2, rel=1e-6)
    np.testing.assert_array_equal(project(clusters(1, 1), seed=0), [[0, 0]])
    np.testing.assert_array_equal(project(np.ones((3, 4), np.float32), seed=0), np.zeros((3, 2)))


def test_features_that_cannot_be_laid_out_are_told_in_a_sentence() -> None:
    broken = clusters(6, 2)
    broken[1, 3], broken[4, 0], broken[4, 1] = np.nan, np.inf, np.nan
    with pytest.raises(UsageError, match="features: 2 of 6 rows hold NaN or infinity"):
        project(broken, seed=0)
    with pytest.raises(UsageError, match="all 20 rows are equal"):
        project(np.full((20, 3), 0.1, np.float32), seed=0)
    with pytest.raises(UsageError, match="no clip to draw"):
        project(np.zeros((0, 3), np.float32), seed=0)
    with pytest.raises(UsageError, match=r"shape \(5, 8, 3\), must be one vector a clip"):
        project(np.zeros((5, 8, 3), np.float32), seed=0)
    with pytest.raises(UsageError, match="seed=-1: must be 0 or more"):
        project(clusters(6, 2), seed=-1)


@pytest.mark.parametrize("num_panels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_same_plot_has_the_same_bytes(suffix: str, num_panels: int, tmp_path: Path) -> None:
    features = make_features(clusters(12, 3), ["$a$ and $", "_b", "c"])
    first = draw(features, tmp_path / f"first{suffix}", num_panels=num_panels)
    second = draw(features, tmp_path / "new" / f"second{suffix}", num_panels=num_panels)
    assert first.read_bytes() == second.read_bytes() != b""


def svg_comments(path: Path) -> list[str]:
    """Matplotlib writes each text that it draws as paths into a comment."""
    builder = ElementTree.TreeBuilder(insert_comments=True)
    root = ElementTree.parse(path, ElementTree.XMLParser(target=builder)).getroot()
    comments = [node for node in root.iter() if not isinstance(node.tag, str)]
    return [(node.text or "").strip() for node in comments]


def test_dollars_and_underscores_of_a_name_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["$x^2$ and $y$", "_hidden", "</svg>"]
    shown = svg_comments(draw(make_features(clusters(9, 3), names), tmp_path / "plot.svg"))
    # A name read as mathematics would be drawn glyph by glyph, without the dollars.
    assert {html.escape(name, quote=False) for name in names} <= set(shown) or set(names) <= set(
        shown
    )
    assert "60 clips by label" in shown and "label" in shown


def test_a_legend_names_what_is_missing(tmp_path: Path) -> None:
    features = make_features(clusters(9, 3), list("abc"))
    shown = svg_comments(
        umap(features, out=tmp_path / "plot.svg", config=UmapConfig(color="group")).path
    )
    assert {"(no group)", "group0", "group1", "group2"} <= set(shown)


def test_names_of_a_legend_are_told_apart_by_colour_and_marker() -> None:
    assert NUM_STYLES >= 101
    styles = [style(number) for number in range(NUM_STYLES)]
    assert len(set(styles)) == NUM_STYLES
    assert len({colour for colour, _ in styles[:8]}) == 8


def test_wrong_requests_are_told_before_anything_is_computed(tmp_path: Path) -> None:
    features = make_features(clusters(6, 3), ["run", "jump", "walk"])
    with pytest.raises(UsageError, match=r"map.gif: must end in one of .png, .svg, .pdf, .html"):
        umap(features, out=tmp_path / "map.gif")
    with pytest.raises(UsageError, match=r"classes='walks': no such class; .* walk"):
        umap(features, out=tmp_path / "map.png", config=UmapConfig(classes=["run", "walks"]))
    known = "label, group, split, client, extractor"
    with pytest.raises(UsageError, match=f"color='uri': must be one of {known}"):
        umap(features, out=tmp_path / "map.png", config=UmapConfig(color="uri"))
    with pytest.raises(UsageError, match="no clip to draw"):
        umap(features, out=tmp_path / "map.png", config=UmapConfig(classes=[]))
