"""Dataclasses that hold arrays have no generated `__eq__`, which would compare arrays as truths.

Up to Python 3.12 it compared tuples, and so took an array to equal itself; from 3.13 on it raises.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.paths import ROOT

ARRAYS = {"NDArray", "Tensor", "Arrays", "StateDict", "Rows", "ClientRows", "Table"}
"""Names in annotations whose values do not compare to one truth."""


def is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called) in ("dataclass", "dataclasses.dataclass")


def names_in(annotation: ast.AST) -> Iterator[str]:
    """Yield the names of an annotation, but for what functions take and return."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in (
        "Callable",
        "ClassVar",
    ):
        return
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else annotation
        yield from names_in(kind)  # what follows it is no type
        return
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield from names_in(ast.parse(annotation.value, mode="eval"))
    if isinstance(annotation, ast.Name):
        yield annotation.id
    if isinstance(annotation, ast.Attribute):
        yield annotation.attr
    for child in ast.iter_child_nodes(annotation):
        yield from names_in(child)


def compares_arrays(node: ast.ClassDef) -> bool:
    """Return whether a class is a dataclass with arrays and a generated `__eq__`."""
    made = [decorator for decorator in node.decorator_list if is_dataclass(decorator)]
    if not made or "eq=False" in ast.unparse(made[0]):
        return False
    fields = [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
    return any(ARRAYS & set(names_in(annotation)) for annotation in fields)


@pytest.mark.parametrize("folder", ["kinestore", "tests", "benchmarks", "examples"])
def test_no_dataclass_compares_arrays(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and compares_arrays(node)
    ]
    assert found == []


def test_dataclasses_that_hold_arrays_are_found() -> None:
    source = """
@dataclass(frozen=True)
class Plain:
    rows: dict[str, "NDArray[np.float32]"] | None

@dataclasses.dataclass(eq=False)
class Sound:
    rows: Tensor

@dataclass
class Called:
    rows: Callable[[Tensor], Tensor]
"""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in found if compares_arrays(node)] == ["Plain"]


def test_without_a_generated_eq_an_object_equals_itself_alone() -> None:
    @dataclass(frozen=True, eq=False)
    class Held:
        rows: NDArray[np.float32]

    rows = np.ones(3, np.float32)
    one, other = Held(rows), Held(rows)
    assert one == one and one != other and len({one, other}) == 2
