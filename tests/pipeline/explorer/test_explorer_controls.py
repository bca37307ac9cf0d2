"""The explorer's filters, legend and lists in a real browser, by mouse and by keys."""

from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from tests.helpers.explored import WRONG, lines, pixels, place, rows, settle


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("WALK", [8, 9, 10, 11]),  # label, and prediction of row 11
        ("place 7.", [7]),  # caption
        ("clip11.avi", [11]),  # file
        ("jump walk", [9]),  # both, wherever
        ("nowhere", []),
    ],
)
def test_a_search_narrows(tab: Tab, words: str, found: list[int]) -> None:
    tab.get_by_label("Search").fill(words)
    expect(tab.locator("#count")).to_have_text(f"{len(found)} of 12 clips")
    assert rows(tab) == found
    assert len(lines(tab, "clips")) == len(found)
    assert tab.locator("#empty").is_visible() == (not found)


def test_a_name_in_the_legend_hides_shows_and_stands_alone(tab: Tab) -> None:
    assert [text.split()[-1] for text in lines(tab, "legend")] == ["4", "4", "3", "1"]
    run = tab.locator("#legend .line").nth(1)
    run.click()
    assert rows(tab) == [0, 1, 2, 3, 8, 9, 10, 11]
    x, y = (round(value) for value in place(tab, 5))
    assert pixels(tab)[y, x].tolist() == [255, 255, 255]
    run.click()
    assert rows(tab) == list(range(12))
    run.hover()
    run.get_by_role("button", name="only").click()
    assert rows(tab) == [4, 5, 6, 7]
    tab.get_by_role("button", name="label: run").click()  # the filter's own button
    assert rows(tab) == list(range(12))


def test_a_slow_click_counts(tab: Tab) -> None:
    """The lines under a finger stay, though focus, and whatever else, has them drawn anew."""
    box = tab.locator("#legend .line").nth(1).bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    tab.mouse.down()
    settle(tab)
    tab.evaluate("window.dispatchEvent(new Event('resize'))")
    settle(tab)
    tab.mouse.up()
    assert rows(tab) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_filters_of_several_columns_narrow_together(tab: Tab) -> None:
    tab.locator("#legend .line").first.click()  # jump
    tab.get_by_label("Color by").select_option(label="group")
    tab.locator("#legend .line").first.click()  # g0, the even rows
    assert rows(tab) == [5, 7, 9, 11]
    tab.get_by_label("Errors only").check()
    assert rows(tab) == [9]
    counts = [text.split()[-1] for text in lines(tab, "legend")]
    assert counts == ["0", "1"]  # of the clips that the other filters let through


def test_hide_all_and_show_all_go_by_what_is_listed(tab: Tab) -> None:
    tab.get_by_role("button", name="Hide all").click()
    assert rows(tab) == [] and tab.locator("#empty").is_visible()
    tab.get_by_role("button", name="Show all").click()
    assert rows(tab) == list(range(12))


def test_selected_clips_can_be_shown_alone(tab: Tab) -> None:
    only = tab.get_by_label("Selected only")
    expect(only).to_be_disabled()
    tab.get_by_label("Errors only").check()
    tab.get_by_role("button", name="Select shown").click()
    tab.get_by_label("Errors only").uncheck()
    only.check()
    assert rows(tab) == WRONG
    tab.keyboard.press("Escape")
    expect(only).not_to_be_checked()
    assert rows(tab) == list(range(12))


def test_a_chosen_clip_tells_all_and_leads_to_its_nearest(tab: Tab) -> None:
    tab.mouse.click(*place(tab, 1))
    detail = tab.get_by_role("region", name="Chosen clip")
    expect(detail).to_contain_text("/films/jump/clip1.avi")
    expect(detail).to_contain_text(f"{1:032x}")
    expect(detail).to_contain_text("wrong: predicted run (75%)")
    buttons = detail.get_by_role("listitem").get_by_role("button")
    assert [text.split("\n")[-1] for text in buttons.all_inner_texts()] == [
        "clip2.avi",
        "clip6.avi",
    ]
    assert buttons.first.locator("img").count() == 1  # row 2 has a thumbnail, row 6 has none
    assert buttons.nth(1).locator("img").count() == 0
    buttons.nth(1).click()
    assert tab.evaluate("explorer.chosen()") == 6
    expect(detail).to_contain_text("clip6.avi")


def test_the_whole_way_without_a_mouse(tab: Tab, tmp_path: Path) -> None:
    tab.keyboard.press("/")
    tab.keyboard.type("run")
    reached = tab.evaluate("document.activeElement.id")
    assert reached == "search"
    visited = [reached]
    while visited[-1] != "clips" and len(visited) < 40:
        tab.keyboard.press("Tab")
        visited.append(tab.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"focus is not seen on {visited[-1]}"
    assert {"color", "legend", "overlay", "pan", "lasso", "fit", "select-shown"} <= {*visited}
    assert tab.evaluate("explorer.chosen()") == 1  # the first of 1, 4, 5, 6, 7
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate("explorer.chosen()") == 5
    active = tab.locator("#clips .line.active")
    expect(active).to_contain_text("clip5.avi")
    told = tab.locator("#clips").get_attribute("aria-activedescendant")
    assert told == active.get_attribute("id")
    tab.keyboard.press("Space")
    tab.keyboard.press("End")
    tab.keyboard.press("Enter")
    expect(active).to_contain_text("clip7.avi")
    expect(active).to_have_attribute("aria-selected", "true")
    expect(tab.locator("#selected")).to_have_text("2 selected")
    while tab.evaluate("document.activeElement.id") != "export":
        tab.keyboard.press("Shift+Tab")
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert [line.split("/")[-1] for line in text.split()[1:]] == ["clip5.avi", "clip7.avi"]
    tab.keyboard.press("Escape")
    assert tab.evaluate("[explorer.chosen(), explorer.selected.size]") == [-1, 0]


def test_the_legend_is_walked_by_keys(tab: Tab) -> None:
    tab.locator("#legend").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    assert rows(tab) == [0, 1, 2, 3, 8, 9, 10, 11]
    tab.keyboard.press("Enter")
    assert rows(tab) == [4, 5, 6, 7]
    tab.keyboard.press("Enter")
    assert rows(tab) == list(range(12))
