"""The page of a run in a real browser: what it asks for, how it looks, on paper and on a phone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from kinestore.heads import TrainingConfig
from kinestore.pipeline.html_page import read_asset
from kinestore.pipeline.report import report
from kinestore.pipeline.report.svg_curves import NUM_COLORS
from kinestore.pipeline.report.svg_heat_map import NUM_LEVELS
from tests.helpers.browser import opened
from tests.helpers.jobs import federate, train
from tests.helpers.reported import HOSTILE, retold, without_pictures
from tests.helpers.trained import clips

QUICK = TrainingConfig(epochs=2, batch_size=16)


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a federated run, of one with hostile names, and of one with 101 classes."""
    folder = tmp_path_factory.mktemp("pages")
    asked: dict[str, Any] = {"folds": 3, "clients": 5, "rounds": 2, "settings": QUICK}
    federate(clips(), out=folder / "together", **asked)
    train(clips(), out=folder / "run", settings=QUICK)
    hostile = [(name, HOSTILE[row - 1], 0.5) for row, name in enumerate(HOSTILE)]
    retold(folder / "run", folder / "hostile", hostile, classes=HOSTILE)
    names = [f"HandstandPushups {number}" for number in range(101)]
    many = [(name, names[row // 2], 0.5) for row, name in enumerate(names)]
    retold(folder / "run", folder / "many", many, classes=names)
    told = ("together", "hostile", "many")
    return {name: report(folder / name, out=folder / f"{name}.html").path for name in told}


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
@pytest.mark.parametrize("name", ["together", "hostile", "many"])
def test_a_page_asks_for_nothing_says_nothing_and_is_as_wide_as_the_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    with opened(browser, pages[name], size=(width, 800), dark=dark) as one:
        assert one.requests == [pages[name].as_uri()] and one.said == []
        assert one.page.evaluate("document.documentElement.scrollWidth") == width
        # what is cut off at the side scrolls in a box of its own
        beyond = """[...document.body.querySelectorAll("*")].filter(one =>
          one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scrolled"))
          .map(one => one.outerHTML.slice(0, 200))"""
        assert one.page.evaluate(beyond) == []
        assert one.page.title() == f"Run {name}"


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out_from_what_they_stand_on(
    browser: Browser, pages: dict[str, Path], dark: bool
) -> None:
    measured = """[...document.querySelectorAll("main *, header *")].filter(one =>
      [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) &&
      !one.closest("title")).map(one => {
        let under = one;
        const style = getComputedStyle(one), drawn = one.namespaceURI.endsWith("svg");
        while (under && getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)")
          under = under.parentElement;
        const level = [...one.classList].find(name => /^on\\d$/.test(name));
        const back = level
          ? getComputedStyle(document.querySelector(".level" + level[2])).fill
          : getComputedStyle(under).backgroundColor;
        return [drawn ? style.fill : style.color, back, one.outerHTML.slice(0, 80)];
      })"""
    with opened(browser, pages["together"], dark=dark) as one:
        found = one.page.evaluate(measured)
        backs = {rgb(back) for _, back, _ in found}
    assert len(found) > 150 and len(backs) >= 4
    assert ((255, 255, 255) in backs) != dark
    for colour, back, what in found:
        assert contrast(rgb(colour), rgb(back)) >= 4.5, what


def rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = map(int, re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour).groups())  # type: ignore[union-attr]
    return red, green, blue


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """WCAG's contrast ratio, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: tuple[int, int, int]) -> float:
    shares = [value / 255 for value in color]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_shade_and_line_can_be_told_from_what_is_around_it(mode: str) -> None:
    style = read_asset("kinestore.pipeline.report", "report.css")
    light, dark = re.findall(r"color-scheme: \w+;[^}]*", style)
    declared = light if mode == "light" else dark
    found = re.findall(r"--(\w+): #(..)(..)(..);", declared)
    colours = {name: (int(r, 16), int(g, 16), int(b, 16)) for name, r, g, b in found}
    for level in range(1, NUM_LEVELS + 1):
        assert contrast(colours[f"level{level}"], colours[f"on{level}"]) >= 4.5
    steps = [contrast(colours[f"level{n}"], colours["back"]) for n in range(1, NUM_LEVELS + 1)]
    assert steps == sorted(steps)
    for line in range(1, NUM_COLORS + 1):
        assert contrast(colours[f"line{line}"], colours["back"]) >= 3
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # as known


@pytest.mark.parametrize("name", ["together", "hostile", "many"])
def test_a_page_prints_on_several_sheets_that_cut_nothing_off(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    with opened(browser, pages[name], size=(718, 1016), dark=True) as one:  # A4 within margins
        printed = one.page.pdf(format="A4")
        one.page.emulate_media(media="print")
        wide = """[...document.body.querySelectorAll("*")].filter(one =>
          one.getBoundingClientRect().right > innerWidth + 1).map(one => one.tagName)"""
        assert one.page.evaluate(wide) == []
        hidden = """[...document.querySelectorAll(".scrolled")].filter(one =>
          one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1)
          .length"""
        assert one.page.evaluate(hidden) == 0
        back = one.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert back == "rgb(255, 255, 255)"  # ink is not spent on the dark
    assert len(re.findall(rb"/Type /Page\b", printed)) in range(2, 12)


def test_headings_sort_a_table_by_a_click_and_by_a_key(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["together"]) as one:
        table = one.page.get_by_role("region", name="Figures of each class")

        def column(place: int) -> list[str]:
            return table.locator(f"tbody td:nth-child({place})").all_inner_texts()

        assert column(1) == ["jump", "run", "walk"]
        table.get_by_role("button", name="class").click()
        assert column(1) == ["jump", "run", "walk"]
        table.get_by_role("button", name="class").press("Enter")
        assert column(1) == ["walk", "run", "jump"]
        table.get_by_role("button", name="recall").press(" ")
        recalls = [float(shown) for shown in column(4)]
        assert recalls == sorted(recalls) and len(set(recalls)) > 1
        table.get_by_role("button", name="recall").click()
        assert [float(shown) for shown in column(4)] == sorted(recalls, reverse=True)
        heads = table.get_by_role("columnheader")
        sorts = [head.get_attribute("aria-sort") for head in heads.all()]
        assert sorts == [None, None, None, "descending", None, None, None, None]
        assert one.said == []


def test_a_dash_sorts_last_and_thousands_by_their_size(browser: Browser, tmp_path: Path) -> None:
    train(clips(), out=tmp_path / "run", settings=QUICK)
    said = [("a", "a", 0.5)] * 1200 + [("b", "b", 0.5)] * 30 + [("c", "a", 0.5)] * 200
    run = retold(tmp_path / "run", tmp_path / "told", said, classes=["a", "b", "c"])
    with opened(browser, report(run, out=tmp_path / "r.html").path) as one:
        table = one.page.get_by_role("region", name="Figures of each class")
        for head, order in {"clips": "bca", "precision": "abc"}.items():
            table.get_by_role("button", name=head, exact=True).click()
            names = table.locator("tbody td:nth-child(1)").all_inner_texts()
            assert "".join(names) == order  # precisions are 1200/1400, 30/30 and none


def test_without_its_script_a_page_lacks_no_word(browser: Browser, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["together"].as_uri())
    bare = page.inner_text("body")
    context.close()
    with opened(browser, pages["together"]) as one:
        assert one.page.inner_text("body") == bare


def test_hostile_names_are_seen_as_they_are(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["hostile"]) as one:
        shown = one.page.get_by_role("region", name="Figures of each class").inner_text()
        for name in HOSTILE[1:7]:
            assert name in shown
        assert one.page.locator("script").count() == 1
        assert one.page.locator("main img, main b, main iframe").count() == 0
        arabic = one.page.locator("bdi", has_text=HOSTILE[10]).first
        assert arabic.evaluate("one => getComputedStyle(one).direction") == "rtl"
        assert one.page.evaluate("getComputedStyle(document.body).direction") == "ltr"
