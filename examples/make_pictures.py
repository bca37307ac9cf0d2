"""Make the pictures of the README and the docs, with the software itself.

Run it from the repository's root: `.venv/bin/python examples/make_pictures.py`.
"""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from kinestore.pipeline.projection import umap
from kinestore.pipeline.recipes.demo import demo
from kinestore.store import Store
from tests.helpers.browser import launched, opened

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "demo"
        demo(where)
        shutil.copy(where / "umap.png", PICTURES / "umap.png")
        store = Store(where / "store")
        panels = [store.load(view) for view in ("cnn-efficientnet-lite0:mean", "motion")]
        umap(panels, out=PICTURES / "umap-panels.png")
        shutil.copy(where / "runs" / "federated" / "curves.png", PICTURES / "federated.png")
        run = where / "runs" / "frames"  # it errs, which is worth a look
        drawn = umap(store.load("motion"), store=store, run=run, out=where / "explorer.html")
        photograph(drawn.path, PICTURES / "explorer.png")


def photograph(page: Path, out: Path) -> None:
    """Take a picture of the demo's explorer: one clip is chosen and another pointed at."""
    with (
        contextmanager(launched)() as browser,
        opened(browser, page, size=(1400, 900)) as one,
    ):
        for label, press in (("shake", True), ("lift", False)):
            first = f"[...explorer.rows()].find((row) => explorer.clips.label(row) === '{label}')"
            one.page.mouse.move(*one.page.evaluate(f"explorer.place({first})"))
            if press:
                one.page.mouse.down()
                one.page.mouse.up()
        one.page.locator("#card").wait_for()
        one.page.evaluate("document.querySelector('#detail h3').scrollIntoView()")
        one.page.screenshot(path=out)


if __name__ == "__main__":  # the demo starts worker processes
    main()
