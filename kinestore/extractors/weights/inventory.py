"""The weights that are on this machine: what is there, what is missing, what is damaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinestore.extractors._registry import module_of, names
from kinestore.extractors.weights.sources import Source, cached, fetch, published_sha256
from kinestore.extractors.weights.state_dict import sha256
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One file that an extractor loads.

    Attributes:
        extractor: Its name.
        source: Where the file comes from.
        state: "missing", "here"; after hashing "sound" (as published), "damaged" (not as
            published) or "hashed" (its publisher tells no hash).
        path: Where it lies, or "".
        size_bytes: Its size, or 0.
        sha256: Its hash, or "" before it was asked for.
    """

    extractor: str
    source: str
    state: str
    path: str = ""
    size_bytes: int = 0
    sha256: str = ""


def list_weights() -> list[Kept]:
    """The files of every extractor that loads any."""
    return [kept for name in names() for kept in _kept(name)]


def fetch_weights(names: Sequence[str]) -> list[Kept]:
    """Download what is not here yet, with a progress bar.

    Raises:
        UsageError: If there is no such extractor, or it has no weights to fetch.
        KinestoreError: If the publisher cannot be reached.
    """
    found = []
    for name in names:
        if (source := _source(name)) is None:
            raise UsageError(f"{name}: has no published weights")
        fetch(name, source)
        found += _kept(name)
    return found


def verify_weights(*, on_progress: Callable[[int, int], None] | None = None) -> list[Kept]:
    """Hash every file that is here, and compare with what its publisher tells."""
    here = [kept for kept in list_weights() if kept.path]
    checked = []
    for number, kept in enumerate(here):
        if on_progress is not None:
            on_progress(number, len(here))
        digest = sha256(Path(kept.path))
        source = _source(kept.extractor)
        published = published_sha256(source, Path(kept.path)) if source else ""
        state = "hashed"
        if published:
            state = "sound" if digest.startswith(published) else "damaged"
        checked.append(replace(kept, sha256=digest, state=state))
    return checked


def _source(name: str) -> Source | None:
    module = module_of(name)
    if not hasattr(module, "source"):
        return None
    source: Source | None = module.source(name)
    return source


def _kept(name: str) -> list[Kept]:
    source = _source(name)
    if source is None:
        return []
    files = cached(source)
    if files is None:
        return [Kept(extractor=name, source=str(source), state="missing")]
    return [
        Kept(
            extractor=name,
            source="its package" if isinstance(source, Path) else str(source),
            state="here",
            path=str(path),
            size_bytes=path.stat().st_size,
        )
        for path in (files.weights, *files.companions.values())
    ]
