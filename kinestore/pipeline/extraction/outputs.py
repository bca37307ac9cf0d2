"""Outputs of a job: each is an extractor's view of embeddings, or clips of frames."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinestore.extractors import Extractor, ExtractorOptions, FrameChoice, create_from_options
from kinestore.pipeline.extraction.config import Weights
from kinestore.pipeline.extraction.extractor_settings import ExtractorSettings, read_extractor
from kinestore.pipeline.video.clip_format import ClipFormat
from kinestore.store import Source, UsageError, ViewSpec
from kinestore.store.io.addresses import local_path


@dataclass(frozen=True, kw_only=True)
class EmbeddingOutput:
    """A view of embeddings, and the options with which a worker makes its extractor.

    Attributes:
        spec: Specification of the view.
        options: ExtractorOptions of the extractor; the path of its weights is not part of the view.
        extractor: Its name, where the view has another one.
    """

    spec: ViewSpec
    options: ExtractorOptions
    extractor: str | None = None

    def load(self) -> Extractor:
        """Return the extractor, its weights loaded.

        Raises:
            KinestoreError: If it cannot be made on this machine.
        """
        made = create_from_options(self.extractor or self.spec.extractor, self.options)
        if self.extractor is not None:
            made.spec = _renamed(made.spec, self.spec.extractor)
        return made


Output = EmbeddingOutput | ClipFormat
"""An output of each clip: `spec` is what the store knows it by, `load()` returns what makes it."""


def embedding_outputs(
    names: Sequence[str],
    *,
    weights: Weights | None = None,
    device: str = "auto",
    frame_choice: FrameChoice | None = None,
    prompts: Sequence[str] = (),
    spec_only: bool = False,
) -> dict[str, EmbeddingOutput]:
    """Make each extractor once, so that a wrong name or weight fails before a video is read.

    Names may have settings, as `read_extractor` reads them, before which `frame_choice` gives way.
    With `spec_only`, other machines embed the clips, and may have the GPU that this one has not.

    Raises:
        UsageError: If a name, the weights, the device or the frames do not fit.
        KinestoreError: If there are no weights on this machine and none can be downloaded.
    """
    chosen = {name: read_extractor(name, frame_choice or FrameChoice()) for name in names}
    paths = _by_name([one.name for one in chosen.values()], weights)
    outputs: dict[str, EmbeddingOutput] = {}
    for name, one in chosen.items():
        if one.weights is not None and one.name in paths:
            raise UsageError(
                f"extractor {name!r}: has weights, and --weights gives {paths[one.name]}; leave "
                "one out"
            )
        options = ExtractorOptions(
            weights=paths.get(one.name) if one.weights is None else _absolute(one.weights),
            device=device,
            frame_choice=one.frame_choice,
            prompts=tuple(prompts),
            crop=one.crop,
            spec_only=spec_only,
        )
        spec = create_from_options(one.name, options).spec
        _refuse_unused(name, one, spec)
        other = one.name if one.view not in (None, one.name) else None
        if other is not None:
            spec = _renamed(spec, str(one.view))
            if any(known.spec.extractor == one.view for known in outputs.values()):
                raise UsageError(f"extractor {name!r}: as={one.view} is there twice; rename one")
        if same := next((n for n, known in outputs.items() if known.spec == spec), None):
            raise UsageError(f"extractor {name!r}: gives the same view as {same!r}; leave one out")
        outputs[name] = EmbeddingOutput(
            spec=spec, options=replace(options, spec_only=False), extractor=other
        )
    return outputs


def _refuse_unused(name: str, one: ExtractorSettings, spec: ViewSpec) -> None:
    """Refuse settings of the choice of frames that change nothing."""
    recorded = spec.settings.get("sampling", {})
    used = {
        "keyframes": recorded.get("num_keyframes", recorded.get("frames"))
        == one.frame_choice.num_keyframes,
        **{setting: setting in recorded for setting in ("frames", "space", "seed")},
    }
    for setting in sorted(one.written):
        if not used.get(setting, True):
            how = f"with sampling {recorded['kind']}" if recorded else "on it"
            raise UsageError(
                f"extractor {name!r}: {setting} has no effect {how}; leave it out, or give a "
                "sampling that takes it"
            )


def _renamed(spec: ViewSpec, view: str) -> ViewSpec:
    """Return the specification of a view that is not called as its extractor."""
    return replace(spec, extractor=view, settings={**spec.settings, "extractor": spec.extractor})


def parse_weights(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Parse PATH, for the only extractor, or NAME=PATH for each; names may have settings.

    Raises:
        UsageError: If a text does not say whose weights they are.
    """
    paths, names = {}, list(dict.fromkeys(name.partition(":")[0] for name in names))
    for text in texts:
        name, equals, path = text.partition("=")
        if equals and name in names:
            paths[name] = path
        elif len(names) == 1 and (not equals or local_path(text).exists()):
            paths[names[0]] = text
        else:
            raise UsageError(
                f"weights {text}: with several extractors write NAME=PATH, with NAME one of "
                f"{', '.join(names)}"
            )
    return paths


def read_prompts(path: str | Path | None, sources: Sequence[Source]) -> tuple[str, ...]:
    """Read the prompts of `clip-text`: one a line of a file, or one made from each label.

    Raises:
        UsageError: If the file cannot be read or has no text.
    """
    if path is None:
        labels = sorted({label for source in sources for label in source.labels})
        return tuple(label_prompt(label) for label in labels)
    try:
        lines = local_path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"prompts {path}: cannot be read ({error})") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UsageError(f"prompts {path}: has no text; write one prompt a line")
    return prompts


def label_prompt(label: str) -> str:
    """Return a prompt for a label: ApplyEyeMakeup and apply_eye_makeup are "apply eye makeup"."""
    words = re.sub(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])", " ", label).lower().strip()
    return f"a video of a person doing {words}"


def _by_name(names: Sequence[str], weights: Weights | None) -> dict[str, Path]:
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        if len(set(names)) != 1:
            raise UsageError(
                f"weights {weights}: with several extractors, give a mapping from name to path"
            )
        weights = {names[0]: weights}
    for name in weights:
        if name not in names:
            raise UsageError(f"weights of {name!r}: must be of one of {', '.join(names)}")
    return {name: _absolute(path) for name, path in weights.items()}


def _absolute(path: str | Path) -> Path:
    return local_path(path).absolute()
