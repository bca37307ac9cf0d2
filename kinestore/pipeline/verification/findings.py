"""Result of a verification."""

from dataclasses import asdict, dataclass

HARMLESS = frozenset(
    {"foreign-cache", "missing-rows", "stale-cache", "temporary-file", "unknown-file"}
)
"""Kinds of finding that leave a store sound."""

DROPPED = frozenset(
    {"broken-cache", "broken-part", "broken-view"}
    | {"foreign-cache", "stale-cache", "temporary-file"}
)
"""Kinds of finding that a repair removes."""

REFILLED = frozenset({"orphan-rows"})
"""Kinds of finding that the next extraction repairs, with nothing to remove first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem, or one fact worth knowing.

    Attributes:
        path: The file or folder, within the store.
        kind: "broken-part" (its bytes have changed, or it is not a part of its kind),
            "broken-view" (no usable view.json or frames.json), "broken-cache" (its bytes have
            changed), "broken-snapshot" (pins parts that are gone), "orphan-rows" (embeddings or
            frames whose clip is in no clips part), "not-a-part" (a stray file among parts, which
            stops all reading), "unreadable" (the system could not read it); or, in a sound store,
            one of HARMLESS.
        message: One sentence.
    """

    path: str
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """Result of a verification.

    Attributes:
        num_parts: Number of parts that were checked.
        findings: Everything found, before anything was removed.
        dropped: Files that the repair removed, within the store.
        sound: Whether nothing is broken; after a repair, whether the next extraction will repair
            the rest.
    """

    num_parts: int
    findings: tuple[Finding, ...]
    dropped: tuple[str, ...]
    sound: bool

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)
