"""How maps look on paper: nothing over anything else, and names of any number and kind."""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from PIL import Image

from kinestore.pipeline.plotting.legend import NUM_STYLES
from kinestore.pipeline.plotting.text import Ruler, clean, families
from tests.helpers.mapped import (
    draw,
    labelled,
    legend_of,
    legend_words,
    num_points,
    texts,
    watch,
    words,
)

HOSTILE = [
    "",
    " ",
    "$x^2$ and $y$",
    r"$\bad{$",
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


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return watch(monkeypatch)


# How it looks.


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is drawn, and where: all but empty texts, whose boxes are points."""
    legend = legend_of(figure)
    shown = [text for text in texts(figure) if text is not legend.get_title()]
    found = [(text.get_text(), text.get_window_extent()) for text in shown]
    found += [("axes", axes.get_window_extent()) for axes in figure.axes]
    return [*found, ("legend", legend.get_window_extent())]


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


@pytest.mark.parametrize("num_panels", [1, 2, 3, 9])
def test_a_long_legend_fills_the_width_of_the_panels_and_no_more(
    num_panels: int, figures: list[Figure], tmp_path: Path
) -> None:
    draw(labelled(named(101), 101), tmp_path / "map.png", num_panels=num_panels)
    box = legend_of(figures[0]).get_window_extent()
    assert 0.75 < box.width / figures[0].bbox.width <= 1
    assert box.y1 < min(axes.get_window_extent().y0 for axes in figures[0].axes)


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
    of_panels = texts(figures[0])[:-3]  # then come the legend's title, and two texts of all
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
    legend = legend_of(figures[0])
    assert legend_words(figures[0]) == names
    of_legend = [looks(line) for line in legend.get_lines()]
    assert len(set(of_legend)) == 101
    assert [[looks(line) for line in axes.lines] for axes in figures[0].axes] == [of_legend] * 3
    assert min(float(text.get_fontsize()) for text in legend.get_texts()) >= 6.5


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("num_panels", [1, 12])
def test_15_000_labels_are_counted_and_drawn_in_few_megabytes(
    num_panels: int, suffix: str, figures: list[Figure], tmp_path: Path
) -> None:
    features = labelled([f"name {number:05d}" for number in range(15_000)], 15_000)
    path = draw(features, tmp_path / f"map{suffix}", num_panels=num_panels)
    assert path.stat().st_size < 5e6
    assert not legend_words(figures[0]) and "15,000 labels,\ncolors repeat" in words(figures[0])
    assert [len(axes.lines) for axes in figures[0].axes] == [NUM_STYLES] * num_panels
    assert num_points(figures[0].axes[-1]) == 15_000


def test_a_legend_never_names_more_than_it_tells_apart(
    figures: list[Figure], tmp_path: Path
) -> None:
    for number in (NUM_STYLES, NUM_STYLES + 1):
        draw(labelled(named(number), 300), tmp_path / "map.png")
    assert len(legend_words(figures[0])) == NUM_STYLES and not legend_words(figures[1])
    assert "105 labels,\ncolors repeat" in words(figures[1])


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
    assert {"$x^2$ and $y$", r"$\bad{$", "_hidden", "<b>bold</b>&amp;", "two lines and a tab"} <= {
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
    assert legend_of(figures[1]).get_texts()[0].get_fontfamily() == families([rare])
