"""A real browser, without a window and without a graphics card, to look at pages from disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    "--no-sandbox",  # as root there is none
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL on the processor
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]

TWO_FRAMES = "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
"""A script that waits until all that has been asked for is drawn."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page that is open, and all that it has tried so far.

    Attributes:
        requests: Addresses that it has asked for, its own included.
        said: Messages to the console, errors that nobody caught, dialogs.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def launched() -> Iterator[Browser]:
    """Start a browser for a fixture to yield from; skip the test where there is none."""
    if _found() is None:
        pytest.skip(f"no {' or '.join(_NAMES)} is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_found(), args=_OPTIONS)
        yield browser
        browser.close()


def another(browser: Browser, *options: str) -> Browser:
    """Start one more browser, with more options."""
    return browser.browser_type.launch(executable_path=_found(), args=[*_OPTIONS, *options])


def _found() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def opened(
    browser: Browser, path: Path, *, size: tuple[int, int] = (1200, 800), dark: bool = False
) -> Iterator[Opened]:
    """Open a file in a window of its own, wait until it is drawn, and close it in the end."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    one = Opened(page=page)

    def closing(dialog: Dialog) -> None:
        one.said.append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda request: one.requests.append(request.url))
    page.on("console", lambda message: one.said.append(message.text))
    page.on("pageerror", lambda error: one.said.append(str(error)))
    page.on("dialog", closing)
    page.goto(path.as_uri())
    page.evaluate(TWO_FRAMES)  # what follows the window's size has followed it then
    yield one
    context.close()
