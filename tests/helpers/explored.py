"""A page of twelve clips, and how to ask it what it shows."""

from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from kinestore.pipeline.explorer import Page, write_explorer
from tests.helpers.browser import TWO_FRAMES, Opened, opened

# A grid of four columns and three rows, numbered from below:  8 9 10 11 / 4 5 6 7 / 0 1 2 3
POINTS = np.array([[i % 4, i // 4] for i in range(12)], dtype=np.float32)
LABELS = ["jump"] * 4 + ["run"] * 4 + ["walk"] * 3 + [None]
PREDICTED = ["jump", "run", "jump", "jump"] + ["run"] * 4 + ["walk", "jump", "walk", "walk"]
WRONG = [1, 9]


def twelve_clips() -> Page:
    """The first has no caption, the last no label, and the last six have no thumbnail."""
    thumbnail = cv2.imencode(".webp", np.full((12, 16, 3), 90, np.uint8))[1].tobytes()
    return Page(
        title="Twelve clips by label",
        caption="motion@1, 891 features\n12 clips; UMAP",
        points=POINTS,
        clip_ids=[f"{row:032x}" for row in range(12)],
        uris=[f"/films/{LABELS[row]}/clip{row}.avi" for row in range(12)],
        columns={"label": LABELS, "group": [f"g{row % 2}" for row in range(12)]},
        color="label",
        captions=[f"a person at place {row}." if row else None for row in range(12)],
        thumbnails={f"{row:032x}": thumbnail for row in range(6)},
        neighbors=np.array([[(row + 1) % 12, (row + 5) % 12] for row in range(12)], np.int32),
        predicted=PREDICTED,
        confidence=[0.75] * 11 + [None],
    )


def shown(
    browser: Browser,
    page: Page,
    folder: Path,
    *,
    size: tuple[int, int] = (1200, 800),
    dark: bool = False,
) -> AbstractContextManager[Opened]:
    write_explorer(page, folder / "page.html")
    return opened(browser, folder / "page.html", size=size, dark=dark)


def place(tab: Tab, row: int) -> tuple[float, float]:
    x, y = tab.evaluate("row => explorer.place(row)", row)
    return x, y


def rows(tab: Tab) -> list[int]:
    found: list[int] = tab.evaluate("[...explorer.rows()]")
    return found


def lines(tab: Tab, box: str) -> list[str]:
    """What the lines of a list say, in order."""
    settle(tab)
    return tab.locator(f"#{box} .line").all_inner_texts()


def settle(tab: Tab) -> None:
    tab.evaluate(TWO_FRAMES)


def pixels(tab: Tab) -> NDArray[np.uint8]:
    """What the window shows, RGB, uint8 of shape (H, W, 3)."""
    settle(tab)
    raw = np.frombuffer(tab.screenshot(), np.uint8)
    seen = cv2.imdecode(raw, cv2.IMREAD_COLOR_RGB)
    assert seen is not None
    return seen.astype(np.uint8)
