"""The documentation names files, modules and functions that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"\bkinestore/[\w/]+\.py\b", page.read_text(encoding="utf-8"))
    missing = [path for path in named if not (ROOT / path).is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_python_name_in_a_page_exists(page: Path) -> None:
    named = set(re.findall(r"\bkinestore(?:\.\w+)+", page.read_text(encoding="utf-8")))
    named -= {"kinestore.json", "kinestore.md"}  # the file that marks a store, and a page
    missing = [name for name in sorted(named) if not exists(name)]
    assert not missing


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True
