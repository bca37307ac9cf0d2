"""Removing what a verification found broken and the next extraction makes again."""

from collections.abc import Sequence

from kinestore.store.findings import DROPPED, REFILLED, Finding
from kinestore.store.io.storage import Storage
from kinestore.store.parts import PART_NAME


def drop_broken(storage: Storage, findings: Sequence[Finding]) -> tuple[list[str], list[Finding]]:
    """Remove what can be removed, and return its names and the findings that are left."""
    dropped, left = [], []
    for finding in findings:
        doomed = [finding.path] if finding.kind in DROPPED else []
        if finding.kind == "broken-view":
            folder = finding.path.rpartition("/")[0]
            inside = sorted(filter(PART_NAME.fullmatch, storage.names(folder)))
            doomed += [f"{folder}/{name}" for name in inside]
        doomed = [name for name in doomed if storage.kind(name)]
        gone = [name for name in doomed if storage.remove(name)]
        dropped += gone
        if len(gone) < len(doomed) or finding.kind not in DROPPED | REFILLED:
            left.append(finding)
    return dropped, left
