"""Removing what a verification found broken, and what the next extraction makes again."""

from collections.abc import Sequence
from pathlib import Path

from kinestore.store.findings import DROPPED, REFILLED, Finding
from kinestore.store.io.atomic import is_temporary, remove_abandoned
from kinestore.store.parts import NAME


def repair(root: Path, findings: Sequence[Finding]) -> tuple[list[str], list[Finding]]:
    """Drop what can be dropped; gives what was, and the findings that are still to be mended."""
    dropped, left = [], []
    for finding in findings:
        path = root / finding.path
        doomed = [path] if finding.kind in DROPPED else []
        if finding.kind == "broken-view":
            doomed += [p for p in path.parent.iterdir() if NAME.fullmatch(p.name)]
        doomed = [part for part in doomed if part.exists() or part.is_symlink()]
        gone = [part for part in doomed if _drop(root, part)]
        dropped += [part.relative_to(root).as_posix() for part in gone]
        if len(gone) < len(doomed) or finding.kind not in DROPPED | REFILLED:
            left.append(finding)
    return dropped, left


def _drop(root: Path, path: Path) -> bool:
    """Remove a file or a link, unless it lies outside the store by way of a linked folder."""
    if not path.parent.resolve().is_relative_to(root.resolve()):
        return False
    if path.is_dir() and not path.is_symlink():
        return False
    if is_temporary(path):
        return remove_abandoned(path)
    path.unlink(missing_ok=True)
    return True
