"""The code keeps its shape: shares of rooms, and private names that stay in their package.

The source is parsed and not imported.
"""

import ast
from collections import Counter
from pathlib import Path

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "kinestore"
SOURCES = {path.relative_to(PACKAGE): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}


def room(path: Path) -> str:
    """Return the room of a file: a package, or a folder of pipeline/ or of pipeline/training/."""
    depth = 1
    if path.parts[0] == "pipeline":
        depth = 3 if path.parts[:2] == ("pipeline", "training") else 2
    return "/".join(path.parts[: min(depth, len(path.parts) - 1)])


def test_no_room_holds_more_than_15_percent_of_the_code() -> None:
    lines: Counter[str] = Counter()
    for path, text in SOURCES.items():
        lines[room(path)] += text.count("\n")
    share = {name: count / lines.total() for name, count in lines.items()}
    assert {name: part for name, part in share.items() if part > 0.15} == {}


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
