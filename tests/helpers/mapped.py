"""Features that tests draw, and what is found on the figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from numpy.typing import NDArray

from kinestore.pipeline.plotting import scatter_panels as panels
from kinestore.pipeline.plotting.legend import PointNames
from kinestore.pipeline.plotting.scatter_panels import ScatterPanel, draw_panels
from kinestore.store import Clip, Features, Source, Store, ViewSpec
from tests.helpers.stored import INFO


def make(
    rows: Sequence[int],
    *,
    width: int = 6,
    name: str = "made",
    classes: Sequence[str] = ("run", "walk"),
    seed: int = 0,
) -> Features:
    """Numbered clips: a clip's vector and label depend on its number alone."""
    vectors = np.random.default_rng(seed).standard_normal((max(rows) + 1, width))
    vectors += 3 * (np.arange(len(vectors)) % len(classes))[:, None]
    return Features(
        features=vectors[list(rows)].astype(np.float32),
        labels=np.array(rows, dtype=np.int64) % len(classes),
        clip_ids=[f"{row:032x}" for row in rows],
        groups=[f"g{row % 3}" for row in rows],
        splits=[None for _ in rows],
        uris=[f"/videos/{row}.mp4" for row in rows],
        classes=list(classes),
        views=[f"{name}@0123456789abcdef"],
        missing=[],
    )


def labelled(names: Sequence[str], num_clips: int) -> Features:
    return make(range(num_clips), width=2, classes=names)


def random_points(num_points: int, *, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((num_points, 2)).astype(np.float32)


def draw(
    features: Features,
    out: Path,
    *,
    num_panels: int = 1,
    title: str = "motion",
) -> Path:
    drawn = [
        ScatterPanel(
            points=random_points(len(features.labels), seed=number),
            title=f"(a) {title}",
            note="silhouette \N{MINUS SIGN}0.12, 5-NN 0.34, trust 0.56",
        )
        for number in range(num_panels)
    ]
    views = "motion@0123456789abcdef, 891 features; " * num_panels
    draw_panels(
        drawn,
        PointNames(title="label", names=[features.classes[label] for label in features.labels]),
        title="60 clips by label",
        caption=f"{views}\nUMAP, seed 0\n" + "Below each panel: " * 9,
        out=out,
    )
    return out


def watch(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from here on."""
    seen: list[Figure] = []
    save = panels._save

    def keep(figure: Figure, **told: Any) -> None:
        seen.append(figure)
        save(figure, **told)
        figure.draw_without_rendering()  # places are in pixels

    monkeypatch.setattr(panels, "_save", keep)
    return seen


def num_points(axes: Axes) -> int:
    return sum(np.asarray(line.get_xydata()).shape[0] for line in axes.lines)


def texts(figure: Figure) -> list[Text]:
    """Titles and notes of the panels, the legend's title, and title and caption of all."""
    found = [text for axes in figure.axes for text in axes.findobj(Text)]
    found += [legend_of(figure).get_title(), *figure.texts]
    return [text for text in found if isinstance(text, Text) and text.get_text()]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def legend_of(figure: Figure) -> Legend:
    (legend,) = figure.subfigs[0].legends
    return legend


def legend_words(figure: Figure) -> list[str]:
    return [text.get_text() for text in legend_of(figure).get_texts()]


def vectors(rows: Sequence[int], *, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Numbered clips about eight centres: a clip's vector depends on its number alone."""
    centres = 4 * np.random.default_rng(seed).standard_normal((8, width))
    noise = [np.random.default_rng([seed, row]).standard_normal(width) for row in rows]
    return np.asarray(centres[np.array(rows) % 8] + noise, dtype=np.float32)


def add_clips(
    path: Path, rows: Sequence[int], *, views: Sequence[str] = ("a",), width: int = 6
) -> Store:
    """Add numbered clips of eight labels to a store; each view has other vectors of them."""
    store = Store.create(path)
    names = [f"{row:032x}" for row in rows]
    sources = [
        Source(uri=f"/v/{row}.avi", label=f"class {row % 8}", group=f"g{row % 3}") for row in rows
    ]
    store.append_clips(
        [
            Clip(clip_id=name, source=source, info=INFO)
            for name, source in zip(names, sources, strict=True)
        ]
    )
    for number, view in enumerate(views):
        spec = ViewSpec(extractor=view, shape=(width,), settings={})
        store.append(spec, names, vectors(rows, width=width, seed=number))
    return store
