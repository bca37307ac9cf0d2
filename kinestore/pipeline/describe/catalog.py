"""What there is by name: heads, strategies and extractors, with their settings and defaults."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

from kinestore import extractors, federated, heads
from kinestore.extractors import FrameChoice
from kinestore.federated.stages import Stages
from kinestore.pipeline.describe.model_cost import ModelCost, cost_of_extractor, cost_of_head
from kinestore.pipeline.training.model_spec import FROM_THE_CLIPS
from kinestore.pipeline.training.networks.build_network import FROM_THE_JOB
from kinestore.store import UsageError

ENTRY_KINDS = ("head", "strategy", "extractor")

NOTHING = "(nothing)"
"""Stands for an empty default."""

NUM_CLASSES, WIDTHS, NUM_FRAMES = 101, (2048, 768), 16
"""Clips for which the size of a head is counted, where it depends on them."""


@dataclass(frozen=True, kw_only=True)
class CatalogSetting:
    """A setting as `NAME:SETTING=VALUE` takes it.

    Attributes:
        name: Its name.
        default: Its default as it is written, or "" where it must be given.
        meaning: A sentence on it, or "".
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A head, a strategy or an extractor.

    Attributes:
        name: Its name.
        summary: What it is, in a sentence.
        takes: Its input: "embeddings", "frames", "videos", or "" for a strategy.
        settings: Its settings.
        cost: Its size, where one entry is asked about.
    """

    name: str
    summary: str
    takes: str
    settings: tuple[CatalogSetting, ...]
    cost: ModelCost | None = None

    def to_json(self) -> dict[str, object]:
        """Return what the command prints with --json."""
        return asdict(self)


def catalog(kind: str) -> list[CatalogEntry]:
    """List all heads, strategies or extractors, sorted by name; see `ENTRY_KINDS`."""
    names = {"head": heads.names, "strategy": federated.names, "extractor": extractors.names}
    return [catalog_entry(kind, name) for name in names[kind]()]


def catalog_entry(kind: str, name: str, *, with_cost: bool = False) -> CatalogEntry:
    """Return one of them, with its size if that is wanted.

    Raises:
        UsageError: If there is none of this name.
    """
    if kind == "extractor":
        module = extractors.module_of(name)
        settings = tuple(_of_an_extractor(module))
        return CatalogEntry(
            name=name,
            summary=_first_sentence(module),
            takes="videos",
            settings=settings,
            cost=cost_of_extractor(name, measure=False) if with_cost else None,
        )
    of = heads if kind == "head" else federated
    if name not in of.names():
        raise UsageError(f"{kind}={name!r}: must be one of {', '.join(of.names())}")
    package = "kinestore.heads" if kind == "head" else "kinestore.federated.strategies"
    module = import_module(f"{package}.{name}")
    decided = (*FROM_THE_CLIPS, *FROM_THE_JOB) if kind == "head" else ()
    settings = tuple(one for one in _of_a_function(module.build) if one.name not in decided)
    if kind == "strategy":
        return CatalogEntry(
            name=name,
            summary=_first_sentence(module),
            takes="",
            settings=(*settings, *_of_a_dataclass(Stages)),
        )
    of_frames = heads.takes_frames(name)
    return CatalogEntry(
        name=name,
        summary=_first_sentence(module),
        takes="frames" if of_frames else "embeddings",
        settings=settings,
        cost=_size_of_head(name, of_frames=of_frames) if with_cost else None,
    )


def _size_of_head(name: str, *, of_frames: bool) -> ModelCost | None:
    """Return the size of a head by its defaults: of two features joined, or of a sequence."""
    declared = heads.settings_of(name)
    widths = () if of_frames else WIDTHS if "widths" in declared else WIDTHS[:1]
    in_time = not of_frames and ("num_frames" in declared or name.startswith("temporal"))
    return cost_of_head(
        name,
        num_classes=NUM_CLASSES,
        widths=widths,
        num_frames=NUM_FRAMES if in_time else None,
        size=None,
        measure=False,
    )


def _first_sentence(module: ModuleType) -> str:
    text = " ".join((module.__doc__ or "").split("\n\n")[0].split())
    return re.sub(r"^`[\w-]+`: ", "", text).partition(". ")[0].removesuffix(".")


def _of_a_function(build: Callable[..., Any]) -> Iterator[CatalogSetting]:
    meanings = _meanings(build, "Args")
    for name, parameter in inspect.signature(build).parameters.items():
        given = parameter.default is parameter.empty
        yield CatalogSetting(
            name=name,
            default="" if given else _written(parameter.default),
            meaning=meanings.get(name, ""),
        )


def _of_a_dataclass(
    kind: type, names: Mapping[str, str] = MappingProxyType({})
) -> Iterator[CatalogSetting]:
    """Yield its fields; with `names` only those, under the names that users write."""
    meanings = _meanings(kind, "Attributes")
    for field in fields(kind):
        if not names or field.name in names:
            default = "" if field.default is MISSING else _written(field.default)
            yield CatalogSetting(
                name=names.get(field.name, field.name),
                default=default,
                meaning=meanings.get(field.name, ""),
            )


_OF_FRAMES = {
    "kind": "sampling",
    "num_keyframes": "keyframes",
    "frames": "frames",
    "space": "space",
    "seed": "seed",
}


def _of_an_extractor(module: ModuleType) -> Iterator[CatalogSetting]:
    yield from _of_a_dataclass(FrameChoice, _OF_FRAMES)
    if crops := getattr(module, "CROPS", ()):
        yield CatalogSetting(
            name="crop", default="none", meaning=f"Part of the picture: {', '.join(crops)}."
        )
    yield CatalogSetting(
        name="weights", default="none", meaning="A checkpoint; none takes the published one."
    )
    yield CatalogSetting(
        name="as", default="none", meaning="Another name for its view in the store."
    )


def _meanings(documented: object, section: str) -> dict[str, str]:
    """Return the entries of a section of a docstring, by their names."""
    text = inspect.getdoc(documented) or ""
    _, _, rest = text.partition(f"\n{section}:\n")
    body = re.split(r"\n(?=\S)", rest)[0]
    found = re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8,}.*)*)", body, re.MULTILINE)
    return {name: " ".join(said.split()) for names, said in found for name in names.split(", ")}


def _written(value: object) -> str:
    """Return a default as the command line takes it."""
    if isinstance(value, list | tuple):
        return "-".join(map(str, value)) or NOTHING
    if value == "":
        return NOTHING
    return "none" if value is None else str(value).lower() if value in (True, False) else str(value)
