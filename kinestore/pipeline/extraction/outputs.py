"""What a job takes from each clip: what an extractor is made with, and the view that it fills."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinestore import extractors as registry
from kinestore.extractors import Extractor, FrameChoice, Options
from kinestore.pipeline.video.clip_format import TakenFrames
from kinestore.store import Source, UsageError, ViewSpec

Weights = str | Path | Mapping[str, str | Path]
"""A path for the only extractor of a job, or paths by name."""


@dataclass(frozen=True, kw_only=True)
class PlannedView:
    """A view, and what a worker needs to make the extractor that fills it.

    Attributes:
        spec: The view's.
        options: They say where the weights lie, which is no part of what the view is.
    """

    spec: ViewSpec
    options: Options

    def make(self) -> Extractor:
        """The extractor, its weights loaded.

        Raises:
            KinestoreError: If it cannot be made here.
        """
        return registry.make(self.spec.extractor, self.options)


Planned = PlannedView | TakenFrames
"""A kind of thing that is taken from a decoded clip: its `spec` says what the store keeps, and
`make()` what takes it."""


def plan_views(
    names: Sequence[str],
    *,
    weights: Weights | None = None,
    device: str = "auto",
    frames: FrameChoice | None = None,
    prompts: Sequence[str] = (),
    elsewhere: bool = False,
) -> dict[str, PlannedView]:
    """Make each extractor once: a missing weight or a wrong name shows before a video is read.

    With `elsewhere`, clips are embedded by other machines, which may have the GPU that this lacks.

    Raises:
        UsageError: If a name, the weights, the device or the frames do not fit.
        KinestoreError: If there are no weights here and none can be fetched.
    """
    paths = _by_name(names, weights)
    views = {}
    for name in names:
        options = Options(
            weights=paths.get(name),
            device=device,
            frames=frames or FrameChoice(),
            prompts=tuple(prompts),
            elsewhere=elsewhere,
        )
        spec = registry.make(name, options).spec
        views[name] = PlannedView(spec=spec, options=replace(options, elsewhere=False))
    return views


def read_weights(given: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Read what `--weights` says: PATH for the only extractor, or NAME=PATH for each.

    Raises:
        UsageError: If it does not say whose weights they are.
    """
    paths = {}
    for text in given:
        name, equals, path = text.partition("=")
        if equals and name in names:
            paths[name] = path
        elif len(names) == 1 and (not equals or Path(text).exists()):
            paths[names[0]] = text
        else:
            raise UsageError(
                f"weights {text}: with several extractors write NAME=PATH, with NAME one of "
                f"{', '.join(names)}"
            )
    return paths


def read_prompts(path: str | Path | None, sources: Sequence[Source]) -> tuple[str, ...]:
    """What `clip-text` chooses among: a text a line of a file, or one for each class.

    Raises:
        UsageError: If the file cannot be read or has no text.
    """
    if path is None:
        labels = sorted({source.label for source in sources if source.label is not None})
        return tuple(prompt_of(label) for label in labels)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"prompts {path}: cannot be read ({error})") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UsageError(f"prompts {path}: has no text; write one prompt a line")
    return prompts


def prompt_of(label: str) -> str:
    """A sentence for a class: ApplyEyeMakeup and apply_eye_makeup are "apply eye makeup"."""
    words = re.sub(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])", " ", label).lower().strip()
    return f"a video of a person doing {words}"


def _by_name(names: Sequence[str], weights: Weights | None) -> dict[str, Path]:
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        if len(names) != 1:
            raise UsageError(f"weights {weights}: say whose they are, as a mapping from name")
        weights = {names[0]: weights}
    for name in weights:
        if name not in names:
            raise UsageError(f"weights of {name!r}: must be of one of {', '.join(names)}")
    return {name: Path(path).expanduser().absolute() for name, path in weights.items()}
