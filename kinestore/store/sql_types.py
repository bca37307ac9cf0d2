"""Values of SQL that Arrow or Python cannot hold, as text: times, intervals, bytes."""

from typing import Any

_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_UNSIGNED = ("utinyint", "usmallint", "uinteger", "ubigint")
_OTHERS = ("boolean", "decimal", "float", "double", "varchar", "enum", "uuid", "null")
_SAFE = frozenset((*_INTEGERS, *_UNSIGNED, *_OTHERS))
_BROKEN = frozenset({"uhugeint", "bignum", "bit", "variant", "time with time zone"})
"""Types whose values Arrow would hold wrongly."""


def readable(relation: Any, *, as_text: bool) -> Any:
    """Return a relation of DuckDB whose values survive Arrow or, with `as_text`, also Python."""
    wanted = [_type(kind, as_text=as_text) for kind in relation.types]
    if wanted == list(map(str, relation.types)):
        return relation
    inner = [f"c{number}" for number in range(len(wanted))]
    casts = ", ".join(
        f"CAST({one} AS {kind}) AS {_quoted(name)}"
        for one, kind, name in zip(inner, wanted, relation.columns, strict=True)
    )
    return relation.query("_answer", f"SELECT {casts} FROM _answer AS t({', '.join(inner)})")


def _type(kind: Any, *, as_text: bool) -> str:
    if kind.id in ("list", "array"):
        (_, child), *size = kind.children
        return f"{_type(child, as_text=as_text)}[{size[0][1] if size else ''}]"
    if kind.id == "struct":
        fields = (f"{_quoted(n)} {_type(one, as_text=as_text)}" for n, one in kind.children)
        return f"STRUCT({', '.join(fields)})"
    if kind.id == "map":
        (_, key), (_, value) = kind.children
        named = "VARCHAR" if as_text else _type(key, as_text=False)
        return f"MAP({named}, {_type(value, as_text=as_text)})"
    is_text = kind.id not in _SAFE if as_text else kind.id in _BROKEN
    return "VARCHAR" if is_text else str(kind)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
