"""Sources of weights: a given path, a cache on this machine, or the publisher's hub.

Downloads go to the caches of huggingface_hub and torch.hub, which other programs share.
"""

import errno
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinestore.extractors.weights.state_dict import sha256
from kinestore.store import KinestoreError, UsageError
from kinestore.store.errors import NO_ROOM
from kinestore.store.io.addresses import local_path


@dataclass(frozen=True, kw_only=True)
class HubRepository:
    """A publisher's repository on the Hugging Face hub.

    Attributes:
        repository: "owner/name".
        weights: Possible names of the file of weights; the first that exists is used.
        companions: Further files, such as a vocabulary.
    """

    repository: str
    weights: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    companions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"huggingface.co/{self.repository}"


@dataclass(frozen=True)
class Url:
    """A publisher's file on the web; torchvision's names have the first digits of its SHA-256."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Name of the file, also in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def published_sha256(self) -> str:
        """The first digits of the hash in the name, or ""."""
        named = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.name)
        return named[1] if named else ""


WeightSource = HubRepository | Url | Path
"""A path is a file of an installed package."""


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The files of a network.

    Attributes:
        weights: The state dict.
        companions: Further files, by the publisher's name.
    """

    weights: Path
    companions: dict[str, Path] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """Return the hash of each file, for a view's specification."""
        companions = {f"{name}_sha256": sha256(path) for name, path in self.companions.items()}
        return {"weights_sha256": sha256(self.weights), **companions}


def find_weights(name: str, source: WeightSource | None, given: str | Path | None) -> WeightFiles:
    """Return the files of an extractor.

    Args:
        name: The extractor.
        source: Default source of its weights.
        given: A file of weights, with its companions in the same folder; or a folder in the
            publisher's layout; None takes the cache, and then the publisher.

    Raises:
        UsageError: If a given file is missing.
        KinestoreError: If nothing is cached and the publisher cannot be reached, or the cached
            file is damaged.
    """
    if given is not None:
        return _given(name, source, local_path(given))
    if source is None:
        raise UsageError(f"{name}: no weights are published for it; give a file as weights")
    files = cached(source) or fetch(name, source)
    if not sha256(files.weights).startswith(published_sha256(source, files.weights)):
        raise KinestoreError(
            f"weights {files.weights}: is not what {source} published; delete it and run "
            f"`kinestore weights fetch {name}`"
        )
    return files


def _given(name: str, source: WeightSource | None, path: Path) -> WeightFiles:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        raise UsageError(f"weights {path}: no such file or folder") from None
    except (OSError, ValueError) as error:  # a loop of links, a folder without permission
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"weights {path}: cannot be opened ({reason})") from error
    if not is_folder and not path.is_file():
        raise UsageError(f"weights {path}: must be a file or a folder, and no pipe or device")
    folder = path if is_folder else path.parent
    names = _weights_names(source) if is_folder else (path.name,)
    weights = next((folder / file for file in names if (folder / file).is_file()), None)
    if weights is None:
        raise UsageError(f"weights {path}: the folder has no {' or '.join(names) or 'such file'}")
    companions = source.companions if isinstance(source, HubRepository) else ()
    for file in companions:
        if not (folder / file).is_file():
            raise UsageError(f"weights {path}: {name} needs the publisher's {file} beside them")
    return WeightFiles(weights=weights, companions={file: folder / file for file in companions})


def cached(source: WeightSource) -> WeightFiles | None:
    """Return the files that are on this machine already, or None if one is missing."""
    if isinstance(source, Path):
        return WeightFiles(weights=source) if source.is_file() else None
    if isinstance(source, Url):
        path = _url_cache() / source.name
        return WeightFiles(weights=path) if path.is_file() else None
    found_weights = (_hub_cached(source.repository, name) for name in source.weights)
    companions = {name: _hub_cached(source.repository, name) for name in source.companions}
    weights = next((path for path in found_weights if path), None)
    found = {name: path for name, path in companions.items() if path}
    if weights is None or len(found) < len(companions):
        return None
    return WeightFiles(weights=weights, companions=found)


def fetch(name: str, source: WeightSource) -> WeightFiles:
    """Return the files, downloading missing ones with a progress bar.

    Raises:
        KinestoreError: If the publisher cannot be reached, or sends another file.
    """
    if (found := cached(source)) is not None:
        return found
    if isinstance(source, Path):
        raise KinestoreError(f"weights {source}: no such file; install its package again")
    try:
        if isinstance(source, Url):
            return WeightFiles(weights=_download(source))
        companions = {file: _hub_download(source.repository, (file,)) for file in source.companions}
        return WeightFiles(
            weights=_hub_download(source.repository, source.weights), companions=companions
        )
    except (OSError, RuntimeError, ValueError) as error:  # raised by hubs: unreachable, refused
        if isinstance(error, OSError) and error.errno in _LOCAL:
            raise OSError(error.errno, error.strerror, str(_cache_of(source))) from error
        reason = " ".join(str(error).split())[:120]
        raise KinestoreError(
            f"weights of {name}: {source} is not cached on this machine and cannot be downloaded "
            f"({reason}); where there is a connection run `kinestore weights fetch {name}` and "
            f"copy {_cache_of(source)} to this machine, or give a file or folder as weights"
        ) from error


def published_sha256(source: WeightSource, path: Path) -> str:
    """Return the published SHA-256 of a cached file: all of it, its first digits, or ""."""
    if isinstance(source, Url):
        return source.published_sha256
    blob = path.resolve().name  # the hub's cache names large files by the SHA-256 it announced
    return blob if re.fullmatch("[0-9a-f]{64}", blob) else ""


_LOCAL = frozenset({*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Error numbers of the cache's disk, which no connection mends."""


def _weights_names(source: WeightSource | None) -> tuple[str, ...]:
    if isinstance(source, HubRepository):
        return source.weights
    return () if source is None else (source.name,)


def _url_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _cache_of(source: WeightSource) -> Path:
    if isinstance(source, Url):
        return _url_cache()
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _download(source: Url) -> Path:
    import torch

    folder = _url_cache()
    folder.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(
        source.url, str(folder / source.name), source.published_sha256 or None
    )
    return folder / source.name


def _hub_cached(repository: str, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found: Any = try_to_load_from_cache(repository, name)
    return Path(found) if isinstance(found, str) else None


def _hub_download(repository: str, names: tuple[str, ...]) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    for name in names:
        try:
            # First, since a download tries for half a minute to reach a hub that is down.
            get_hf_file_metadata(hf_hub_url(repository, name))
            return Path(hf_hub_download(repository, name))
        except EntryNotFoundError:
            continue
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error
    raise OSError(f"{repository} has no {' or '.join(names)}")
