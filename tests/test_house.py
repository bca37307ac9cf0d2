"""The code keeps its shape: file lengths, arguments, names, shares of rooms, types, docstrings.

The source is parsed and not imported.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "kinestore"
SOURCES = {path.relative_to(PACKAGE): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}

PLUG_IN_NAMES = {
    "build",  # a head, an extractor, a strategy: the registry calls it
    "create",  # what a registry's package offers
    "names",
    "settings_of",
    "NAMES",  # what an extractor's file provides
    "CODE_VERSION",
    "NETWORK",
    "architecture",  # what a network of extractors provides
    "features",
    "load",
    "read_vocabulary",
    "source",
}
"""Names that each plug-in module defines, so that they repeat by design."""

FRAGMENT_OPENERS = {"What", "Those", "Of", "How", "Which", "Whether"}
"""A docstring opens with a verb or with what the thing is, not with one of these."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(tree: ast.Module) -> Iterator[str]:
    """Yield the public names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function):
            defined = [node.name]
        elif isinstance(node, ast.Assign):
            stored = [one for target in node.targets for one in ast.walk(target)]
            defined = [
                one.id
                for one in stored
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            ]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined = [node.target.id]
        else:
            continue
        yield from (name for name in defined if not name.startswith("_"))


def room(path: Path) -> str:
    """Return the room of a file: a package, or a folder of pipeline/ or of pipeline/training/."""
    depth = 1
    if path.parts[0] == "pipeline":
        depth = 3 if path.parts[:2] == ("pipeline", "training") else 2
    return "/".join(path.parts[: min(depth, len(path.parts) - 1)])


def documented(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of each public function and class, methods included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            text = ast.get_docstring(node)
            if text:
                yield node.name, text


def test_no_file_has_more_than_300_lines() -> None:
    assert {str(p): n for p, t in SOURCES.items() if (n := t.count("\n")) > 300} == {}


def test_few_functions_take_more_than_eight_parameters() -> None:
    long = {}
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                count = len([one for one in given if one.arg not in ("self", "cls")])
                if count > 8:
                    long[f"{path}:{node.name}"] = count
    assert len(long) <= 8, long


def test_public_names_are_defined_once() -> None:
    homes = defaultdict(list)
    for path, tree in TREES.items():
        for name in set(public_definitions(tree)) - PLUG_IN_NAMES:
            homes[name].append(str(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_no_room_holds_more_than_15_percent_of_the_code() -> None:
    lines: Counter[str] = Counter()
    for path, text in SOURCES.items():
        lines[room(path)] += text.count("\n")
    share = {name: count / lines.total() for name, count in lines.items()}
    assert {name: part for name, part in share.items() if part > 0.15} == {}


def test_untyped_dictionaries_are_few_in_the_pipeline() -> None:
    found = {
        str(path): count
        for path, text in SOURCES.items()
        if path.parts[0] == "pipeline" and (count := text.count("dict[str, Any]"))
    }
    assert sum(found.values()) <= 10, found


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


@pytest.mark.parametrize("opener", sorted(FRAGMENT_OPENERS))
def test_no_public_docstring_opens_with_a_fragment(opener: str) -> None:
    found = [
        f"{path}:{name}"
        for path, tree in TREES.items()
        for name, text in documented(tree)
        if text.split()[0] == opener
    ]
    assert found == []
