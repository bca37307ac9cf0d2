"""Extractors by name: the file name is the registry.

What comes before the first hyphen of a name is the public module of this package that makes it, in
`create(name, options)`; the module lists its names in `NAMES`.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from kinestore.extractors._base import Extractor, Options
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.store import UsageError


def _stems() -> list[str]:
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_"))


def names() -> list[str]:
    """The names that `create` knows; `cnn-NAME` takes any image network of timm besides."""
    modules = [importlib.import_module(f"kinestore.extractors.{stem}") for stem in _stems()]
    return sorted(name for module in modules for name in module.NAMES)


def module_of(name: str) -> ModuleType:
    """The module that makes an extractor.

    Raises:
        UsageError: If there is none of this name.
    """
    stem = name.partition("-")[0]
    if stem in _stems():
        module = importlib.import_module(f"kinestore.extractors.{stem}")
        more = getattr(module, "knows", None)
        if name in module.NAMES or (more and more(name)):
            return module
    raise UsageError(f"extractor {name!r}: must be one of {', '.join(names())}")


def create(
    name: str,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    frames: FrameChoice | None = None,
    prompts: Sequence[str] = (),
) -> Extractor:
    """Make an extractor, its weights loaded and frozen.

    Args:
        name: One of `names()`, or `cnn-NAME` for an image network of timm.
        weights: A file of weights, or a folder in the publisher's layout, in the place of the
            default ones.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
        frames: Which frames of a clip are looked at; by default as the extractor does.
        prompts: Texts that `clip-text` chooses among.

    Raises:
        UsageError: If the name, the weights, the device or the frames do not fit.
        KinestoreError: If there are no weights here and none can be fetched.
    """
    options = Options(
        weights=weights, device=device, frames=frames or FrameChoice(), prompts=tuple(prompts)
    )
    return make(name, options)


def make(name: str, options: Options) -> Extractor:
    """The same as `create`, from options that were put together before."""
    extractor: Extractor = module_of(name).create(name, options)
    return extractor
