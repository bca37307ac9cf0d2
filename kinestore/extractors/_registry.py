"""Extractors by name: the file name is the registry.

The part of a name before the first hyphen is the public module of this package that makes the
extractor, in `build(name, options)`; the module lists its names in `NAMES`.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from kinestore.extractors._base import Extractor, ExtractorOptions
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path


def _stems() -> list[str]:
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_"))


def names() -> list[str]:
    """Return the names of all extractors; `cnn-NAME` also takes any other image network of timm."""
    modules = [importlib.import_module(f"kinestore.extractors.{stem}") for stem in _stems()]
    return sorted(name for module in modules for name in module.NAMES)


def module_of(name: str) -> ModuleType:
    """Return the module that makes an extractor.

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
    frame_choice: FrameChoice | None = None,
    prompts: Sequence[str] = (),
    crop: str | None = None,
) -> Extractor:
    """Make an extractor, its weights loaded and frozen.

    Args:
        name: One of `names()`, or `cnn-NAME` for an image network of timm.
        weights: A file of weights, or a folder in the publisher's layout; None takes the published
            weights.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
        frame_choice: Which frames of a clip it sees; None for the extractor's default.
        prompts: Texts that `clip-text` chooses from.
        crop: "square" for the largest square at the center, with `cnn-*`; None for its default.

    Raises:
        UsageError: If the name, the weights, the device or the frames do not fit.
        KinestoreError: If there are no weights on this machine and none can be downloaded.
    """
    options = ExtractorOptions(
        weights=None if weights is None else local_path(weights),
        device=device,
        frame_choice=frame_choice or FrameChoice(),
        prompts=tuple(prompts),
        crop=crop,
    )
    return create_from_options(name, options)


def create_from_options(name: str, options: ExtractorOptions) -> Extractor:
    """Make an extractor as `create` does, from its options."""
    module = module_of(name)
    if options.crop not in (None, *getattr(module, "CROPS", ())):
        crops = " or ".join(getattr(module, "CROPS", ()))
        allowed = f"must be {crops}" if crops else f"{name} has one way to crop; leave it out"
        raise UsageError(f"crop={options.crop!r}: {allowed}")
    extractor: Extractor = module.build(name, options)
    return extractor
