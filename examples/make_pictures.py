"""Make the pictures of the README and the docs, with the software itself.

Run it from the repository's root: `.venv/bin/python examples/make_pictures.py`.
"""

import shutil
import tempfile
from pathlib import Path

from pipeline.demo import demo
from pipeline.umap import umap
from store import Store

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


if __name__ == "__main__":  # the demo starts worker processes
    main()
