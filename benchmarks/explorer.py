"""Speed of the explorer: opening, moving and searching, without a graphics card.

    python -m benchmarks.explorer [--repeats 5]

Generated clips with a label of 101, a caption, a prediction and ten neighbors, without thumbnails,
in headless Chromium that runs WebGL on the processor: a laptop's graphics are many times as fast.
Each figure is the median over the repeats. `opens` counts from the start of loading until all is
drawn, once in time and once in the processors' time of all of the browser's processes, which says
more on a busy machine; `pan` and `zoom` are the time from one step of the mouse to the next, both
drawn.
"""

import argparse
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Browser, CDPSession
from playwright.sync_api import Page as Tab
from rich.console import Console
from rich.table import Table

from kinestore.pipeline.explorer import Page, write_explorer
from tests.helpers.browser import TWO_FRAMES, launched, opened

_FIGURES = ("writes", "opens", "opens, CPU", "pan", "zoom", "search")
_STEPS = 10


def made_up(num_clips: int) -> Page:
    """Clips of 101 classes in 101 clouds; a sixth are predicted wrongly, or nearly."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 101, num_clips)
    predicted = np.where(rng.random(num_clips) < 1 / 6, rng.integers(0, 101, num_clips), classes)
    middles = 5 * rng.normal(size=(101, 2))
    points = (middles[classes] + rng.normal(size=(num_clips, 2))).astype(np.float32)
    labels = [f"class {number:03}" for number in classes]
    return Page(
        title=f"{num_clips:,} clips by label",
        caption="made up",
        points=points,
        clip_ids=[rng.bytes(16).hex() for _ in range(num_clips)],
        uris=[f"/films/UCF-101/{label}/v_{row:06}.avi" for row, label in enumerate(labels)],
        columns={"label": labels, "split": ["train", "test"] * (num_clips // 2)},
        color="label",
        captions=[f"a person does number {row} in a park" for row in range(num_clips)],
        neighbors=rng.integers(0, num_clips, (num_clips, 10)).astype(np.int32),
        predicted=[f"class {number:03}" for number in predicted],
        confidence=rng.random(num_clips).tolist(),
    )


def opens(tab: Tab, session: CDPSession) -> tuple[float, float]:
    """Load once more; milliseconds until all is drawn, and of the processors until then."""
    before = busy_ms(session)
    tab.reload()
    tab.evaluate(TWO_FRAMES)
    return float(tab.evaluate("performance.now()")), busy_ms(session) - before


def busy_ms(session: CDPSession) -> float:
    """Return the CPU time of a browser's processes in milliseconds."""
    info = session.send("SystemInfo.getProcessInfo")
    return float(1000 * sum(process["cpuTime"] for process in info["processInfo"]))


def moves(tab: Tab, *, zoom: bool) -> float:
    """Milliseconds a step of the mouse, drawn."""
    tab.mouse.move(600, 400)
    if not zoom:
        tab.mouse.down()
    started = time.perf_counter()
    for step in range(_STEPS):
        if zoom:
            tab.mouse.wheel(0, -30)
        else:
            tab.mouse.move(600 + 10 * step, 400 + 5 * step)
        tab.evaluate(TWO_FRAMES)
    taken_s = time.perf_counter() - started
    tab.mouse.up()
    return 1000 * taken_s / _STEPS


def searches(tab: Tab) -> float:
    """Milliseconds from the last letter to the picture."""
    box = tab.get_by_label("Search")
    box.fill("numbe")
    tab.evaluate(TWO_FRAMES)
    started = time.perf_counter()
    box.fill("number 7")
    tab.evaluate(TWO_FRAMES)
    return 1000 * (time.perf_counter() - started)


def measure(browser: Browser, path: Path, repeats: int) -> list[float]:
    session = browser.new_browser_cdp_session()
    with opened(browser, path) as one:
        runs = [
            (
                *opens(one.page, session),
                moves(one.page, zoom=False),
                moves(one.page, zoom=True),
                searches(one.page),
            )
            for _ in range(repeats)
        ]
    return [median(figures) for figures in zip(*runs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    table = Table("clips", "MB", *(f"{name}, ms" for name in _FIGURES))
    with contextmanager(launched)() as browser, TemporaryDirectory() as folder:
        write_explorer(made_up(2), Path(folder) / "once.html")  # what is imported late
        for num_clips in (1_000, 10_000, 100_000):
            path = Path(folder) / f"{num_clips}.html"
            page = made_up(num_clips)
            before = time.perf_counter()
            write_explorer(page, path)
            writes = 1000 * (time.perf_counter() - before)
            figures = [writes, *measure(browser, path, repeats)]
            size = path.stat().st_size / 1e6
            table.add_row(f"{num_clips:,}", f"{size:.1f}", *(f"{one:,.0f}" for one in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
