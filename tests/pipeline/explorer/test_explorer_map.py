"""The explorer's map in a real browser: what is drawn, and what a mouse does to it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from kinestore.pipeline.explorer import Page
from kinestore.pipeline.plotting.legend import style
from tests.helpers.explored import LABELS, WRONG, lines, pixels, place, rows, settle, shown


def test_it_opens_from_disk_in_silence_and_asks_for_nothing(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    with shown(browser, page, tmp_path) as one:
        one.page.mouse.move(*place(one.page, 1))
        expect(one.page.locator("#card img")).to_have_js_property("naturalWidth", 16)
        expect(one.page).to_have_title("Twelve clips by label")
        expect(one.page.locator("footer")).to_contain_text("motion@1")
        expect(one.page.locator("#notice")).to_be_hidden()  # WebGL is in use
        assert [url for url in one.requests if not url.startswith("data:image/webp")] == [
            (tmp_path / "page.html").as_uri()
        ]
        assert one.said == []


def test_every_clip_is_drawn_in_the_colour_of_its_label(tab: Tab) -> None:
    assert rows(tab) == list(range(12))
    seen = pixels(tab)
    numbers = {"jump": 0, "run": 1, "walk": 2}
    for row, label in enumerate(LABELS):
        color = "#8a8f98" if label is None else style(numbers[label])[0]
        expected = 0.9 * np.array(rgb(color)) + 0.1 * 255  # nine tenths opaque, on white
        x, y = (round(value) for value in place(tab, row))
        assert np.abs(seen[y, x] - expected).max() <= 4, f"row {row}"  # mixed in 8 bits
    x, y = (round(value) for value in np.add(place(tab, 0), place(tab, 5)) / 2)
    assert seen[y, x].tolist() == [255, 255, 255]  # nothing lies between


def rgb(color: str) -> list[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def test_up_and_right_on_the_page_are_up_and_right_in_the_layout(tab: Tab) -> None:
    (left, bottom), (right, _), (_, top) = place(tab, 0), place(tab, 1), place(tab, 4)
    assert right - left == pytest.approx(bottom - top)
    assert right > left and top < bottom


def test_the_clip_under_the_mouse_tells_its_name(tab: Tab) -> None:
    card = tab.locator("#card")
    for row in (3, 9, 11):
        tab.mouse.move(*place(tab, row))
        expect(card).to_contain_text(f"a person at place {row}.")
        expect(card).to_contain_text(f"clip{row}.avi")
    tab.mouse.move(*place(tab, 9))
    expect(card).to_contain_text("walk")
    expect(card).to_contain_text("wrong: predicted jump (75%)")
    tab.mouse.move(*np.add(place(tab, 0), place(tab, 5)) / 2)
    expect(card).to_be_hidden()


def test_a_lasso_exports_the_clips_inside_it(tab: Tab, tmp_path: Path) -> None:
    tab.get_by_role("button", name="Lasso").click()
    lasso(tab, around(tab, 1, 6))
    expect(tab.locator("#selected")).to_have_text("4 selected")
    assert exported(tab, tmp_path) == [
        ["clip_id", "label", "file"],
        *[[f"{row:032x}", LABELS[row], f"/films/{LABELS[row]}/clip{row}.avi"] for row in (1, 2)],
        *[[f"{row:032x}", "run", f"/films/run/clip{row}.avi"] for row in (5, 6)],
    ]


def test_a_lasso_goes_by_its_line_not_by_its_box(tab: Tab) -> None:
    tab.keyboard.down("Shift")  # with shift a drag is a lasso, also while it pans otherwise
    (x, y), (right, _), (_, top) = place(tab, 0), place(tab, 3), place(tab, 8)
    lasso(tab, [(x - 20, y + 20), (right + 60, y + 20), (x - 20, top)])
    tab.keyboard.up("Shift")
    # Grid lines are u > 160 apart. The long side falls from (-20, 2u) to (3u + 60, -20): it is
    # below row 8 at (0, 2u), above row 5 at (u, u), below row 6 at (2u, u), above row 3 at (3u, 0).
    assert tab.evaluate("[...explorer.selected]") == [0, 1, 2, 3, 4, 5]


def test_a_lasso_takes_shown_clips_alone(tab: Tab) -> None:
    tab.get_by_label("Search").fill("run")
    tab.get_by_role("button", name="Lasso").click()
    lasso(tab, around(tab, 0, 11))
    # Four are labelled so; row 1 is predicted so.
    assert tab.evaluate("[...explorer.selected]") == [1, 4, 5, 6, 7]


def lasso(tab: Tab, corners: list[tuple[float, float]]) -> None:
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        tab.mouse.move(*corner, steps=3)
    tab.mouse.up()


def around(tab: Tab, first: int, last: int, *, margin: float = 20) -> list[tuple[float, float]]:
    """Corners of a box around two rows and what lies between."""
    (left, bottom), (right, top) = place(tab, first), place(tab, last)
    left, right, top, bottom = left - margin, right + margin, top - margin, bottom + margin
    return [(left, bottom), (left, top), (right, top), (right, bottom)]


def exported(tab: Tab, folder: Path) -> list[list[str]]:
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Export CSV").click()
    download.value.save_as(folder / "clips.csv")
    with (folder / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_errors_are_ringed_and_named(tab: Tab) -> None:
    seen = pixels(tab).astype(int)
    ringed = [row for row in range(12) if is_ringed(seen, place(tab, row))]
    assert ringed == WRONG
    expect(tab.locator("#ring-key")).to_contain_text("differs from its label: 2.")
    tab.get_by_label("Errors only").check()
    assert rows(tab) == WRONG
    expect(tab.locator("#clips .line").first).to_contain_text("≠ run")
    tab.get_by_label("Color by").select_option(label="outcome")
    names = [text.split("\n")[0] for text in lines(tab, "legend")]
    assert names == ["right", "wrong", "(no outcome)"]


def is_ringed(seen: NDArray[np.int_], middle: tuple[float, float]) -> bool:
    """Whether dark grey, of no colour, lies in every direction around a point."""
    x, y = (round(value) for value in middle)
    directions = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    rays = [
        [seen[y + down * far, x + right * far] for far in range(8, 20)]
        for right, down in directions
    ]
    return all(any(np.ptp(one) < 25 and one.max() < 140 for one in ray) for ray in rays)


def test_a_drag_pans_and_the_wheel_zooms_about_the_mouse(tab: Tab) -> None:
    x, y = place(tab, 5)
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 70, y - 30, steps=4)
    tab.mouse.up()
    assert place(tab, 5) == pytest.approx((x + 70, y - 30))
    apart = np.subtract(place(tab, 6), place(tab, 5))[0]
    tab.mouse.wheel(0, -300)
    settle(tab)
    assert place(tab, 5) == pytest.approx((x + 70, y - 30), abs=1)  # a wheel has whole pixels
    assert np.subtract(place(tab, 6), place(tab, 5))[0] > 1.5 * apart
    tab.get_by_role("button", name="Fit").click()
    assert place(tab, 5) == pytest.approx((x, y))


def test_the_map_moves_by_keys(tab: Tab) -> None:
    x, y = place(tab, 5)
    tab.locator("#overlay").focus()
    tab.keyboard.press("ArrowLeft")
    assert place(tab, 5) == pytest.approx((x + 40, y))
    tab.keyboard.press("+")
    assert np.subtract(place(tab, 6), place(tab, 5))[0] > 0
    tab.keyboard.press("0")
    assert place(tab, 5) == pytest.approx((x, y))


def test_a_clip_out_of_sight_is_brought_in(tab: Tab) -> None:
    tab.mouse.move(*place(tab, 0))
    tab.mouse.wheel(0, -2000)
    settle(tab)
    tab.locator("#clips").focus()
    tab.keyboard.press("End")
    box = tab.locator("#overlay").bounding_box()
    x, y = place(tab, 11)
    assert box and box["x"] < x < box["x"] + box["width"]
    assert box["y"] < y < box["y"] + box["height"]
