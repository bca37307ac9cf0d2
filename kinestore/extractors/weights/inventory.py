"""Inventory of the weights on this machine: present, missing or damaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinestore.extractors._registry import module_of, names
from kinestore.extractors.weights.sources import WeightSource, cached, fetch, published_sha256
from kinestore.extractors.weights.state_dict import sha256
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class WeightFileStatus:
    """State of one file that an extractor loads.

    Attributes:
        extractor: Name of the extractor.
        source: Source of the file.
        state: "missing" or "here"; after hashing "sound" (as published), "damaged" (not as
            published) or "hashed" (no hash is published).
        path: Path of the file; "" if missing.
        size_bytes: Size of the file; 0 if missing.
        sha256: Hash of the file; "" before hashing.
    """

    extractor: str
    source: str
    state: str
    path: str = ""
    size_bytes: int = 0
    sha256: str = ""


def list_weights() -> list[WeightFileStatus]:
    """Return the files of every extractor that loads any."""
    return [file for name in names() for file in _files_of(name)]


def fetch_weights(names: Sequence[str]) -> list[WeightFileStatus]:
    """Download the missing files, with a progress bar.

    Raises:
        UsageError: If there is no such extractor, or it has no weights to fetch.
        KinestoreError: If the publisher cannot be reached.
    """
    found = []
    for name in names:
        if (source := _source(name)) is None:
            raise UsageError(f"{name}: has no published weights")
        fetch(name, source)
        found += _files_of(name)
    return found


def verify_weights(
    *, progress: Callable[[str, int, int], None] | None = None
) -> list[WeightFileStatus]:
    """Hash every file on this machine, and compare with the published hash."""
    present = [file for file in list_weights() if file.path]
    checked = []
    for number, file in enumerate(present):
        if progress is not None:
            progress("hashing weights", number, len(present))
        digest = sha256(Path(file.path))
        source = _source(file.extractor)
        published = published_sha256(source, Path(file.path)) if source else ""
        state = "hashed"
        if published:
            state = "sound" if digest.startswith(published) else "damaged"
        checked.append(replace(file, sha256=digest, state=state))
    return checked


def _source(name: str) -> WeightSource | None:
    module = module_of(name)
    if not hasattr(module, "source"):
        return None
    source: WeightSource | None = module.source(name)
    return source


def _files_of(name: str) -> list[WeightFileStatus]:
    source = _source(name)
    if source is None:
        return []
    files = cached(source)
    if files is None:
        return [WeightFileStatus(extractor=name, source=str(source), state="missing")]
    return [
        WeightFileStatus(
            extractor=name,
            source="its package" if isinstance(source, Path) else str(source),
            state="here",
            path=str(path),
            size_bytes=path.stat().st_size,
        )
        for path in (files.weights, *files.companions.values())
    ]
