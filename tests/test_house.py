"""The code keeps its shape: private modules and names stay in their package.

The source is parsed and not imported.
"""

import ast

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "kinestore"
SOURCES = {path.relative_to(PACKAGE): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}


def test_private_modules_and_names_stay_in_their_package() -> None:
    crossing = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "kinestore."
            ):
                continue
            parts = str(node.module).split(".")[1:] + [alias.name for alias in node.names]
            private = [part for part in parts if part.startswith("_") and part != "__main__"]
            if private and path.parts[0] != parts[0]:
                crossing.append((str(path), node.module))
    assert crossing == []
