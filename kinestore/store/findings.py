"""What a verification can find."""

from dataclasses import dataclass

TOLD = frozenset({"missing-rows", "stale-cache", "temporary-file", "unknown-file"})
"""Kinds of finding that leave a store sound."""

DROPPED = frozenset({"broken-cache", "broken-part", "broken-view", "stale-cache", "temporary-file"})
"""Kinds of finding that a repair removes."""

REFILLED = frozenset({"orphan-rows"})
"""Kinds of finding that the next extraction mends, with nothing to remove first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be, or worth knowing.

    Attributes:
        path: Where, within the store.
        kind: "broken-part" (its bytes are not those that were written, or not a part of its
            kind), "broken-view" (no usable view.json or frames.json), "broken-cache" (likewise its
            bytes), "broken-snapshot" (pins what is gone), "orphan-rows" (embeddings or frames
            whose clip is in no clips part), "not-a-part" (a stray file among parts, which stops
            all reading), "unreadable" (the system would not read it); or, in a sound store, one of
            TOLD.
        message: One sentence.
    """

    path: str
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a verification came to.

    Attributes:
        num_parts: Parts that were checked.
        findings: All that was found, before anything was dropped.
        dropped: Files that the repair removed, within the store.
        sound: Whether nothing is broken; after a repair, whether nothing is that the next
            extraction does not mend.
    """

    num_parts: int
    findings: tuple[Finding, ...]
    dropped: tuple[str, ...]
    sound: bool
