"""The explorer where it is seldom looked at: in the dark, on a phone, with odd points and names."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from kinestore.pipeline.explorer import Page
from kinestore.pipeline.plotting.legend import style
from tests.helpers.browser import another
from tests.helpers.explored import lines, pixels, place, rows, settle, shown

CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(element).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const told = [...document.body.querySelectorAll('*')].filter((element) =>
    element.checkVisibility() && !element.matches(':disabled, script, option') &&
    (element.matches('input, select') || [...element.childNodes].some((node) =>
      node.nodeType === Node.TEXT_NODE && node.textContent.trim())));
  return told.map((element) => {
    const [a, b] = [light(parts(getComputedStyle(element).color)), light(ground(element))];
    const name = `${element.tagName}#${element.id}.${element.className}`;
    return [name, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_light_and_in_dark(
    browser: Browser, page: Page, tmp_path: Path, dark: bool
) -> None:
    with shown(browser, page, tmp_path, dark=dark) as one:
        tab = one.page
        tab.locator("#legend .line").first.click()  # a hidden name, and a filter's button
        tab.get_by_label("Search").fill("a")
        tab.mouse.click(*place(tab, 9))
        tab.get_by_role("button", name="Select shown").click()
        tab.mouse.move(*place(tab, 5))
        expect(tab.locator("#card")).to_be_visible()
        measured = tab.evaluate(CONTRAST)
        assert len(measured) > 40
        assert [(name, ratio) for name, ratio in measured if ratio < 4.5] == []
        assert is_dark(tab) == dark
        tab.get_by_role("button", name="Light theme" if dark else "Dark theme").click()
        assert is_dark(tab) != dark


def is_dark(tab: Tab) -> bool:
    """Whether the map is, where no point lies, and the header."""
    x, y = (round(value) for value in np.add(place(tab, 0), place(tab, 5)) / 2)
    seen = pixels(tab)
    map_is, header_is = (seen[y, x].mean() < 60, seen[4, 600].mean() < 60)
    assert map_is == header_is
    return bool(map_is)


def test_a_page_as_wide_as_a_phone_does_not_scroll_sideways(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    long = "a_name_without_a_space_" * 15
    long_page = replace(page, title=long, uris=[f"/{long}/{long}{row}.avi" for row in range(12)])
    with shown(browser, long_page, tmp_path, size=(360, 740)) as one:
        tab = one.page
        tab.locator("#overlay").scroll_into_view_if_needed()
        tab.mouse.click(*place(tab, 5))
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
        assert tab.evaluate("explorer.chosen()") == 5


@pytest.mark.parametrize(
    "points", [[[3, 4]], [[0, 0], [0, 1]], [[5, 5]] * 30, [[1e-30, 0], [1e30, 1e30]]]
)
def test_few_points_and_points_in_one_place_are_drawn(
    browser: Browser, tmp_path: Path, points: list[list[float]]
) -> None:
    num = len(points)
    page = Page(
        title="few",
        caption="",
        points=np.array(points, np.float32),
        clip_ids=[str(row) for row in range(num)],
        uris=[f"{row}.avi" for row in range(num)],
        columns={"split": [None] * num},
        color="split",
    )
    with shown(browser, page, tmp_path) as one:
        box = one.page.locator("#overlay").bounding_box()
        assert box
        seen = pixels(one.page)
        for row in range(num):
            x, y = place(one.page, row)
            assert box["x"] < x < box["x"] + box["width"]
            assert box["y"] < y < box["y"] + box["height"]
            assert seen[round(y), round(x)].mean() < 200
        one.page.mouse.move(*place(one.page, 0))
        expect(one.page.locator("#card")).to_contain_text(".avi")
        expect(one.page.locator("#wrong-only")).to_be_hidden()  # no run has scored them
        assert one.said == []


def test_fifteen_thousand_names_are_as_many_lines_as_fit(browser: Browser, tmp_path: Path) -> None:
    num = 15_000
    turns = np.linspace(0, 300, num, dtype=np.float32)
    page = Page(
        title="many",
        caption="",
        points=np.stack([turns * np.cos(turns), turns * np.sin(turns)], axis=1),
        clip_ids=[str(row) for row in range(num)],
        uris=[f"{row}.avi" for row in range(num)],
        columns={"label": [f"class {row:05}" for row in range(num)]},
        color="label",
    )
    with shown(browser, page, tmp_path) as one:
        tab = one.page
        assert 10 < len(lines(tab, "legend")) < 60
        assert 10 < len(lines(tab, "clips")) < 60
        tab.locator("#legend").focus()
        tab.keyboard.press("End")
        last = tab.locator("#legend .line.active")
        expect(last).to_contain_text("class 14999")
        expect(last).to_have_attribute("aria-posinset", "15000")
        tab.keyboard.press("Enter")
        assert rows(tab) == [14_999]
        tab.get_by_role("button", name=re.compile("^label: class 14999")).click()
        tab.get_by_label("Find in the legend").fill("0123")
        found = [text.split("\n")[0] for text in lines(tab, "legend")]
        assert found == ["class 00123", *(f"class 0123{last}" for last in range(10)), "class 10123"]
        assert one.said == []


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    'a, "quoted"\nname',
    "مشي سريع",
    "🏃‍♀️🤸",
    "x" * 300,
    "&lt;b&gt;",
    "=1+1\u2028",
]


def test_names_of_any_kind_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    num = len(HOSTILE)
    page = Page(
        title=HOSTILE[0],
        caption=HOSTILE[1],
        points=np.stack([np.arange(num), np.arange(num) % 2], axis=1).astype(np.float32),
        clip_ids=[f"{name}#" for name in HOSTILE],
        uris=[f"/films/{name}" for name in HOSTILE],
        columns={"label": HOSTILE, HOSTILE[0]: HOSTILE},
        color="label",
        captions=HOSTILE,
        neighbors=np.arange(num)[::-1, None].astype(np.int32),
        predicted=HOSTILE[::-1],
    )
    with shown(browser, page, tmp_path) as one:
        tab = one.page
        assert tab.locator("h1").text_content() == HOSTILE[0]
        assert tab.title() == HOSTILE[0]
        assert tab.locator("footer").text_content() == HOSTILE[1]
        legend = texts(tab, "#legend .name")
        assert legend == sorted(HOSTILE)
        for row, name in enumerate(HOSTILE):
            x, y = place(tab, row)
            tab.mouse.move(x, y)
            expect(tab.locator("#card .caption")).to_be_visible()
            assert texts(tab, "#card .label, #card .caption, #card bdi") == [
                name,
                name,
                HOSTILE[num - 1 - row],
            ]
            tab.mouse.click(x, y)
            assert texts(tab, "#detail > h2, #detail > .caption") == [name, name]
            terms = texts(tab, "#detail dd")
            assert terms == [name, name, f"/films/{name}", f"{name}#"]
            assert texts(tab, "#detail li .name") == [HOSTILE[num - 1 - row]]
            assert texts(tab, "#clips .line .name")[row] == name
        tab.get_by_label("Search").fill(HOSTILE[0])
        assert rows(tab) == [0, num - 1]
        assert HOSTILE[0] in (tab.locator("#chips").text_content() or "")
        tab.get_by_role("button", name="Select shown").click()
        exported = tab.evaluate(
            "async () => { const made = URL.createObjectURL; let blob;"
            "URL.createObjectURL = (one) => { blob = one; return made.call(URL, one); };"
            "document.getElementById('export').click();"
            "URL.createObjectURL = made; return blob.text(); }"
        )
        assert list(csv.reader(io.StringIO(exported, newline=""))) == [
            ["clip_id", "label", "file"],
            [f"{HOSTILE[0]}#", HOSTILE[0], f"/films/{HOSTILE[0]}"],
            ["'=1+1\u2028#", "'=1+1\u2028", "/films/=1+1\u2028"],  # no formula
        ]
        assert tab.evaluate("document.documentElement.scrollWidth") <= 1200
        assert one.said == []
        assert len(one.requests) == 1


def texts(tab: Tab, selector: str) -> list[str]:
    """Text as it is in the document: nothing trimmed, nothing broken."""
    settle(tab)
    return tab.locator(selector).all_text_contents()


def test_without_webgl_the_map_is_drawn_all_the_same(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    with another(browser, "--disable-3d-apis") as other, shown(other, page, tmp_path) as one:
        expect(one.page.get_by_role("alert")).to_contain_text("WebGL is not available")
        seen = pixels(one.page)
        x, y = (round(value) for value in place(one.page, 5))
        run = np.array([int(style(1)[0][at : at + 2], 16) for at in (1, 3, 5)])
        assert np.abs(seen[y, x] - (0.9 * run + 0.1 * 255)).max() <= 4
        assert one.said == []


def test_when_webgl_is_lost_the_map_is_drawn_without_it(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    with shown(browser, page, tmp_path) as one:
        one.page.evaluate(
            "document.getElementById('points').getContext('webgl2')"
            ".getExtension('WEBGL_lose_context').loseContext()"
        )
        expect(one.page.get_by_role("alert")).to_contain_text("WebGL is not available")
        x, y = (round(value) for value in place(one.page, 5))
        after = pixels(one.page)[y, x].astype(int)
        assert np.ptp(after) > 100  # of an orange, as before


@pytest.mark.slow
def test_a_hundred_thousand_clips_are_drawn(browser: Browser, tmp_path: Path) -> None:
    num = 100_000
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 101, num)
    points = classes[:, None] % [10, 11] + rng.normal(size=(num, 2)) / 5
    names = [f"class {number}" for number in classes]
    page = Page(
        title="a hundred thousand clips",
        caption="",
        points=points.astype(np.float32),
        clip_ids=[f"{row:032x}" for row in range(num)],
        uris=[f"/films/UCF-101/{name}/v_{row:06}.avi" for row, name in enumerate(names)],
        columns={"label": names, "split": ["test"] * num},
        color="label",
        captions=[f"a person does number {row} outside" for row in range(num)],
        neighbors=rng.integers(0, num, (num, 10)).astype(np.int32),
        predicted=["class 0"] * num,
    )
    with shown(browser, page, tmp_path) as one:
        assert (tmp_path / "page.html").stat().st_size < 40_000_000
        assert len(rows(one.page)) == num
        assert one.page.locator("#notice").is_hidden()
        seen = pixels(one.page)
        for row in range(0, num, 10_000):
            x, y = (round(value) for value in place(one.page, row))
            assert seen[y, x].tolist() != [255, 255, 255]
        one.page.get_by_label("Search").fill("number 99999 ")
        assert rows(one.page) == [99_999]
        assert one.said == []
