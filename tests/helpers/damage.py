"""Random damage to the bytes of files."""

from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One change of a file; places are fractions of its length."""

    kind: str
    place: float
    length: int
    values: bytes

    def apply(self, content: bytes) -> bytes:
        """Return the damaged bytes."""
        start = int(self.place * len(content))
        end = min(len(content), start + self.length)
        match self.kind:
            case "flip":
                return content[:start] + self.values + content[start + len(self.values) :]
            case "cut":
                return content[:start]
            case "remove":
                return content[:start] + content[end:]
            case "insert":
                return content[:start] + self.values + content[start:]
            case "zero":
                return content[:start] + bytes(end - start) + content[end:]
            case _:
                return content[:start] + content[end:] + content[start:end]


def damages() -> st.SearchStrategy[list[Damage]]:
    """Return a strategy of one to three changes."""
    change = st.builds(
        Damage,
        kind=st.sampled_from(["flip", "cut", "remove", "insert", "zero", "move"]),
        place=st.floats(0, 1),
        length=st.integers(1, 200),
        values=st.binary(min_size=1, max_size=8),
    )
    return st.lists(change, min_size=1, max_size=3)


def damaged(content: bytes, changes: list[Damage]) -> bytes:
    """Return the bytes after all changes."""
    for change in changes:
        content = change.apply(content)
    return content
