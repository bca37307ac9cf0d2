"""Maps of several panels on paper: which clips, which words, and nothing over anything else."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import kinestore
from pipeline import _panels
from pipeline._layout import project, standardise
from pipeline._layout_quality import measure
from pipeline._legend import NUM_STYLES
from pipeline._lettering import Ruler, clean, families
from pipeline._panels import Panel
from pipeline._same_clips import same_clips
from pipeline.umap import draw_umap, plot, umap
from store import Clip, Embedding, Features, Source, Store, UsageError, ViewSpec
from tests.stored import INFO

HOSTILE = [
    "",
    " ",
    "$x^2$ and $y$",
    r"$\bad{",
    "_hidden",
    "a,\"b\",'c'",
    "<b>bold</b>&amp;",
    "--> ]]>",
    "x" * 300,
    "long words " * 30,
    "跳跃 走る 걷기",
    "العربية",
    "🏃‍♀️ run",
    "शुक्रिया",
    "bell\x07 and nul\x00",
    "two\nlines\tand a tab",
    "\u202eturned",
    "half \ud800 a character",
]


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
    color: str = "label",
) -> Path:
    panels = [
        Panel(
            points=random_points(len(features.labels), seed=number),
            title=f"(a) {title}",
            note="silhouette \N{MINUS SIGN}0.12, 5-NN 0.34, trust 0.56",
        )
        for number in range(num_panels)
    ]
    caption = "motion@0123456789abcdef, 891 features; " * num_panels + "\nUMAP, seed 0"
    told = {"title": "60 clips by label", "caption": caption, "key": "Below each panel: " * 9}
    return plot(panels, features, out=out, **told)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from here on."""
    seen: list[Figure] = []
    save = _panels._save

    def keep(figure: Figure, **told: Any) -> None:
        seen.append(figure)
        save(figure, **told)

    monkeypatch.setattr(_panels, "_save", keep)
    return seen


def num_points(axes: Axes) -> int:
    return sum(np.asarray(line.get_xydata()).shape[0] for line in axes.lines)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def legend_words(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# Which clips, and what is told of them.


def test_panels_show_the_clips_that_every_feature_has(
    figures: list[Figure], tmp_path: Path
) -> None:
    first = make(range(20), name="a")
    second = replace(make([*range(25, 4, -1)], name="b", width=9), missing=[f"{99:032x}"])
    cut, num_left_out = same_clips([first, second])
    shared = [f"{row:032x}" for row in range(5, 20)]
    assert [one.clip_ids for one in cut] == [shared, shared]
    np.testing.assert_array_equal(cut[0].features, first.features[5:20])
    # Rows 25, 24, ..., 5 are numbered from 0: that of clip 5 is number 20, that of 19 number 6.
    np.testing.assert_array_equal(cut[1].features, second.features[20:5:-1])
    np.testing.assert_array_equal(cut[1].labels, cut[0].labels)
    assert num_left_out == 5 + 6 + 1  # 0 to 4, 20 to 25, and the one that no row was loaded for

    drawn = draw_umap([first, second], out=tmp_path / "map.png")
    assert (drawn.num_clips, drawn.num_left_out) == (15, 12)
    assert [panel.num_features for panel in drawn.panels] == [6, 9]
    assert [num_points(axes) for axes in figures[0].axes] == [15, 15]
    assert "15 clips, without 12 that lack a view; UMAP" in "\n".join(words(figures[0]))


def test_one_feature_tells_what_its_views_lack(tmp_path: Path) -> None:
    features = replace(make(range(6)), missing=[f"{99:032x}"])
    drawn = draw_umap(features, out=tmp_path / "map.svg")
    assert drawn.num_left_out == 1 and "6 clips, without 1 that lacks a view" in drawn.caption
    assert "without" not in draw_umap(make(range(6)), out=tmp_path / "map.svg").caption


def test_classes_are_those_of_every_panel(figures: list[Figure], tmp_path: Path) -> None:
    both = [make(range(24), name="a", classes="xyz"), make(range(24), name="b", classes="xyz")]
    drawn = draw_umap(both, classes=["z", "x"], out=tmp_path / "map.png")
    assert drawn.num_clips == 16 and legend_words(figures[0]) == ["x", "z"]
    assert all(len(axes.lines) == 2 for axes in figures[0].axes)


def test_each_panel_is_the_one_drawn_alone(figures: list[Figure], tmp_path: Path) -> None:
    both = [make(range(20), name="a"), make(range(20), name="b", seed=1)]
    drawn = draw_umap(both, seed=3, out=tmp_path / "map.png")
    for number, one in enumerate(both):
        points = project(one.features, seed=3)
        quality = measure(standardise(one.features), points, one.labels, seed=3)
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
    drawn = draw_umap([joined, make(range(20), name="b")], seed=7, out=tmp_path / "map.png")
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
    monkeypatch.setattr("pipeline.umap.MOST_MEASURED", 12)
    monkeypatch.setattr("pipeline._layout_quality.MOST_MEASURED", 12)
    mixed = replace(make(range(20)), labels=np.arange(20) // 2 % 2)
    drawn = draw_umap(mixed, out=tmp_path / "map.png")
    assert drawn.num_measured == 12 and (drawn.panels[0].quality.silhouette or 0) < -0.005
    told = "\n".join(words(figures[0]))
    assert "silhouette \N{MINUS SIGN}0." in told and "on a sample of 12 clips" in told


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_file_carries_what_it_shows_and_no_date(suffix: str, tmp_path: Path) -> None:
    path = umap(make(range(20)), seed=5, out=tmp_path / f"map{suffix}")
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
    first = umap(both, seed=1, out=tmp_path / f"first{suffix}").read_bytes()
    assert umap(both, seed=1, out=tmp_path / f"second{suffix}").read_bytes() == first
    assert umap(both, seed=2, out=tmp_path / f"third{suffix}").read_bytes() != first


def test_fast_takes_no_seed_and_all_cores_and_says_so(
    figures: list[Figure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from umap import UMAP

    asked: list[tuple[object, object]] = []

    def spy(**settings: Any) -> Any:
        asked.append((settings["random_state"], settings["n_jobs"]))
        return UMAP(**settings)

    monkeypatch.setattr("umap.UMAP", spy)
    drawn = draw_umap(make(range(20)), fast=True, out=tmp_path / "map.png")
    draw_umap(make(range(20)), seed=4, out=tmp_path / "map.png")
    assert drawn.fast and asked == [(None, -1), (4, 1)]
    fast, seeded = (words(figure)[-1].replace("\n", " ") for figure in figures)
    assert "all cores, no seed: each run differs" in fast and "seed 0" not in fast
    assert "seed 4" in seeded and "cores" not in seeded


# How it looks.


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is drawn, and where: all but empty texts, whose boxes are points."""
    texts = [text for text in figure.texts if text.get_text()]
    found = [(text.get_text(), text.get_window_extent()) for text in texts]
    found += [("axes", axes.get_window_extent()) for axes in figure.axes]
    return found + [("legend", legend.get_window_extent()) for legend in figure.legends]


def named(num_names: int) -> list[str]:
    return [f"HandstandPushups {number}" for number in range(num_names)]


@pytest.mark.parametrize("num_panels", [1, 2, 3, 4, 5, 7, 9, 12])
@pytest.mark.parametrize("names", [named(2), named(40), named(101), named(200), ["x" * 300] * 2])
def test_nothing_lies_over_anything_else(
    num_panels: int, names: list[str], figures: list[Figure], tmp_path: Path
) -> None:
    title = "cnn-efficientnet-lite0 + slow-r50 + videomae"
    draw(labelled(names, 240), tmp_path / "map.svg", num_panels=num_panels, title=title)
    figure = figures[0]
    columns = len({round(axes.get_position().x0, 6) for axes in figure.axes})
    rows = len({round(axes.get_position().y0, 6) for axes in figure.axes})
    assert columns * rows - num_panels in (0, 1, 2) and columns <= 4 and rows <= 3
    assert len({tuple(np.round(axes.bbox.size, 6)) for axes in figure.axes}) == 1
    placed = boxes(figure)
    for number, (name, box) in enumerate(placed):
        for other, another in placed[:number]:
            assert Bbox.intersection(box, another) is None, (name, other)


@pytest.mark.parametrize("names", [["x" * 300] * 2, named(101), named(200)])
def test_nothing_is_cut_off(names: list[str], tmp_path: Path) -> None:
    path = draw(labelled(names, 240), tmp_path / "map.png", num_panels=5, title="w" * 300)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    rim = np.concatenate([pixels[:9].ravel(), pixels[-9:].ravel(), pixels[:, :9].ravel(),
                          pixels[:, -9:].ravel()])  # fmt: skip
    assert (rim == 255).all() and (pixels < 128).any()


def test_a_title_and_a_note_stay_within_their_panel(figures: list[Figure], tmp_path: Path) -> None:
    draw(labelled(["a"], 9), tmp_path / "map.png", num_panels=12, title="word " * 30 + "x" * 200)
    panels = [axes.get_window_extent() for axes in figures[0].axes]
    of_panels = figures[0].texts[:-2]  # then come the title and the caption of all
    assert len(of_panels) == 24 and sum(text.get_text().endswith("…") for text in of_panels) == 12
    for text in of_panels:
        box = text.get_window_extent()
        assert any(box.x0 >= panel.x0 - 1 and box.x1 <= panel.x1 + 1 for panel in panels)
        assert text.get_text().count("\n") <= 1


def looks(line: Line2D) -> tuple[object, object]:
    return line.get_color(), line.get_marker()


def test_all_panels_share_one_legend_and_its_colours(figures: list[Figure], tmp_path: Path) -> None:
    names = [f"name {number:03d}" for number in range(101)]
    draw(labelled(names, 303), tmp_path / "map.png", num_panels=3)
    (legend,) = figures[0].legends
    assert legend_words(figures[0]) == names
    of_legend = [looks(line) for line in legend.get_lines()]
    assert len(set(of_legend)) == 101
    assert [[looks(line) for line in axes.lines] for axes in figures[0].axes] == [of_legend] * 3
    assert min(float(text.get_fontsize()) for text in legend.get_texts()) >= 6.5


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("num_panels", [1, 12])
def test_15_000_labels_are_counted_and_drawn_in_seconds_and_megabytes(
    num_panels: int, suffix: str, figures: list[Figure], tmp_path: Path
) -> None:
    features = labelled([f"name {number:05d}" for number in range(15_000)], 15_000)
    started = time.perf_counter()
    path = draw(features, tmp_path / f"map{suffix}", num_panels=num_panels)
    assert time.perf_counter() - started < 60  # 2 to 9 on a busy machine of two cores
    assert path.stat().st_size < 5e6
    assert not figures[0].legends and "15,000 labels,\ncolours repeat" in words(figures[0])
    assert [len(axes.lines) for axes in figures[0].axes] == [NUM_STYLES] * num_panels
    assert num_points(figures[0].axes[-1]) == 15_000


def test_a_legend_never_names_more_than_it_tells_apart(
    figures: list[Figure], tmp_path: Path
) -> None:
    for number in (NUM_STYLES, NUM_STYLES + 1):
        draw(labelled(named(number), 300), tmp_path / "map.png")
    assert len(legend_words(figures[0])) == NUM_STYLES and not figures[1].legends
    assert "105 labels,\ncolours repeat" in words(figures[1])


# Names of any kind.


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_any_name_is_drawn_without_a_warning(
    suffix: str, figures: list[Figure], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = draw(labelled(sorted(HOSTILE), 36), tmp_path / f"map{suffix}", num_panels=2)
    if suffix == ".svg":
        ElementTree.parse(path)
    shown = legend_words(figures[0])
    assert len(shown) == len(HOSTILE) and shown.count("(blank)") == 2
    assert {"$x^2$ and $y$", r"$\bad{", "_hidden", "<b>bold</b>&amp;", "two lines and a tab"} <= {
        *shown
    }
    assert {"bell and nul", "turned", "half a character", "跳跃 走る 걷기"} <= set(shown)
    assert max(map(len, shown)) <= 32


def test_cleaning_keeps_letters_and_what_joins_them() -> None:
    assert clean(" a \n\t b\u00a0c ") == "a b\u00a0c"
    assert clean("\u200cن\u200d") == "\u200cن\u200d"
    assert clean("\u202e\x07\ud800") == ""


def test_lines_fit_and_lose_no_letter() -> None:
    ruler = Ruler()
    text = "some words and " + "anextremelylongwordthatdoesnotfit" * 3 + " end"
    lines = ruler.wrap(text, 1.0, 7)
    assert len(lines) > 3 and max(ruler.width_in(line, 7) for line in lines) <= 1.0
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert ruler.wrap("a b", 9, 7) == ["a b"] and ruler.wrap("", 9, 7) == [""]
    fitted = ruler.fit(text, 1.0, 7, num_lines=2)
    assert fitted[0] == lines[0] and fitted[1].endswith("…") and len(fitted) == 2
    assert ruler.width_in(fitted[1], 7) <= 1.0
    assert ruler.fit("a b", 9, 7, num_lines=2) == ["a b"]


def make_font(path: Path, letters: str, *, name: str) -> None:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((500, 500))
    pen.closePath()
    glyphs = [".notdef", *(f"g{number}" for number in range(len(letters)))]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(letter): f"g{i}" for i, letter in enumerate(letters)})
    font.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWeightClass=400)
    font.setupPost()
    font.save(path)


def test_a_font_that_has_the_letters_is_taken(
    monkeypatch: pytest.MonkeyPatch, figures: list[Figure], tmp_path: Path
) -> None:
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    assert families(["plain", "العربية"]) == ["DejaVu Sans"]
    rare = "\U000f0001\U000f0002\U000f0003"  # of private use: no other font has them
    assert families([rare]) == ["DejaVu Sans"]
    boxed = draw(labelled([rare], 6), tmp_path / "boxed.png").read_bytes()
    make_font(tmp_path / "one.ttf", rare[:1], name="Made One")
    make_font(tmp_path / "two.ttf", rare[1:], name="Made Two")
    make_font(tmp_path / "none.ttf", "a", name="Made None")
    for path in ("one.ttf", "two.ttf", "none.ttf"):
        manager.addfont(tmp_path / path)
    assert families([rare]) == ["DejaVu Sans", "Made Two", "Made One"]
    assert families(["plain"]) == ["DejaVu Sans"]
    assert draw(labelled([rare], 6), tmp_path / "drawn.png").read_bytes() != boxed
    assert figures[1].legends[0].get_texts()[0].get_fontfamily() == families([rare])


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
    done = CliRunner().invoke(kinestore.app, ["umap", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_command_draws_a_panel_for_each_features(stored: Path, tmp_path: Path) -> None:
    job = (stored, "--features", "a", "--features", "a,b", "--out", tmp_path / "map.png")
    told = json.loads(answer(*job, "--json"))
    assert told["path"] == str(tmp_path / "map.png") and (tmp_path / "map.png").exists()
    assert (told["num_clips"], told["num_left_out"], told["seed"]) == (22, 2, 0)
    loaded = [Store(stored).load(["a"]), Store(stored).load(["a", "b"])]
    expected = draw_umap(loaded, out=tmp_path / "again.png")
    assert [panel["views"] for panel in told["panels"]] == [one.views for one in loaded]
    assert [panel["quality"] for panel in told["panels"]] == [
        vars(panel.quality) for panel in expected.panels
    ]
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()
    said = " ".join(answer(*job).split())
    assert "22 clips drawn in" in said and "2 lack a view and are left out" in said


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
        CliRunner().invoke(
            kinestore.app, [*job, str(tmp_path / "map.html")], catch_exceptions=False
        )


def test_points_of_a_panel_are_float(tmp_path: Path) -> None:
    points: NDArray[np.float32] = np.zeros((3, 2), np.float32)
    panel = Panel(points=points, title="t", note="n")
    told = {"title": "t", "caption": "c", "key": "k"}
    with pytest.raises(UsageError, match=r"map.gif: must end in one of"):
        plot([panel], make(range(3)), out=tmp_path / "map.gif", **told)
