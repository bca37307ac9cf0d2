"""Extraction of videos with the very features that a run was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kinestore import heads
from kinestore.extractors import module_of
from kinestore.pipeline.extract import ExtractionConfig, ExtractionResult, extract
from kinestore.pipeline.extraction.extractor_settings import view_name
from kinestore.pipeline.extraction.outputs import embedding_outputs, label_prompt, read_prompts
from kinestore.pipeline.extraction.scratch_folder import scratch_folder
from kinestore.pipeline.models.saved_run import are_names
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.runs.reader import read_config, unusable
from kinestore.pipeline.video.clip_format import parse_frames_name
from kinestore.progress import Progress
from kinestore.store import Store, UsageError


@contextmanager
def extracted_for(
    run: str | Path,
    videos: str | Path,
    *,
    config: ExtractionConfig,
    extractors: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[tuple[Store, ExtractionResult]]:
    """Extract what a run's model takes into a temporary store, which the block uses.

    Args:
        run: A finished run.
        videos: A folder, a manifest or a video, as in `find_videos`.
        config: Settings of the extraction, such as the weights; without prompts `clip-text` has
            those of the run, or of an earlier version's run those made from its classes.
        extractors: Extractors of the run with the settings that its store was extracted with, such
            as "cnn-densenet201:sampling=uniform"; those that are not named take the defaults.
        progress: Called as by `extract`.

    Raises:
        UsageError: If this machine makes other features than those of the run.
    """
    model = load_model(run)
    frames = heads.takes_frames(model.head.partition(":")[0])
    kept = [_frames_format(name) for name in model.inputs] if frames else []
    if frames and extractors:
        raise UsageError(
            f"extractor {extractors[0]!r}: {model.head} of {model.path} takes frames; leave it out"
        )
    prompts = _prompts(run, model.classes, config)
    names = [] if frames else _choose_extractors(model.inputs, extractors, config, prompts)
    with scratch_folder("predict") as folder:
        listed = folder / "prompts.txt"
        listed.write_text("\n".join(prompts), encoding="utf-8")
        found = extract(
            videos,
            store=folder / "store",
            extractors=names,
            frames=kept,
            config=replace(config, prompts=listed) if prompts else config,
            progress=progress,
        )
        yield Store(folder / "store"), found


def _prompts(run: str | Path, classes: Sequence[str], config: ExtractionConfig) -> tuple[str, ...]:
    if config.prompts is not None:
        return read_prompts(config.prompts, ())
    entry = read_config(run).get("input")
    by_view = entry.get("prompts") if isinstance(entry, Mapping) else None
    if by_view is None:
        return tuple(label_prompt(name) for name in sorted(classes))
    if not isinstance(by_view, dict) or not all(map(are_names, by_view.values())):
        raise unusable(run, f"config.json: prompts={str(by_view)[:200]}")
    lists = {tuple(prompts) for prompts in by_view.values()}
    if len(lists) != 1:
        raise UsageError(
            f"{run}: its views {', '.join(by_view)} have other prompts each; extract the videos "
            "into a store, once with the prompts of each, and predict on that"
        )
    return lists.pop()


def _frames_format(name: str) -> str:
    where, _, text = name.partition(":")
    if where == "frames":
        return parse_frames_name(text).name
    return "first:1@16" if text.startswith("random:") else text  # the videos are read instead


def _choose_extractors(
    inputs: Sequence[str],
    given: Sequence[str],
    config: ExtractionConfig,
    prompts: Sequence[str] = (),
) -> list[str]:
    """Return the extractors, with settings, that make the run's views; refuse other fingerprints.

    No video is read before.
    """
    wanted = list(dict.fromkeys(name.partition(":")[0] for name in inputs))
    needed = list(dict.fromkeys(extractor_of(view) for view in wanted))
    for text in given:
        if view_name(text) not in needed:
            raise UsageError(f"extractor {text!r}: the run was trained on {', '.join(wanted)}")
    named = {view_name(text) for text in given}
    for name in needed:
        if name not in named and not _is_known(name):
            raise UsageError(
                f"the run was trained on {name}, a name that -e gave to a view; give -e "
                f"EXTRACTOR:weights=PATH,as={name} as for its store"
            )
    texts = list(dict.fromkeys([*given, *(name for name in needed if name not in named)]))
    outputs = embedding_outputs(
        texts,
        weights=config.weights,
        device=config.device,
        frame_choice=config.frame_choice,
        prompts=prompts,
    )
    made = {output.spec.name: text for text, output in outputs.items()}
    for view in wanted:
        if view not in made:
            name = extractor_of(view)
            others = " and ".join(each for each in made if extractor_of(each) == name)
            raise UsageError(
                f"the run was trained on {view}, and these settings give {others}; give -e "
                f"{name}:SETTING=VALUE,..., --weights and --prompts as the run's store was "
                "extracted with, or extract the videos into a store with them, and predict on that"
            )
    return [made[view] for view in wanted]


def _is_known(extractor: str) -> bool:
    try:
        module_of(extractor)
    except UsageError:
        return False
    return True


def extractor_of(view: str) -> str:
    """Return the name of the extractor of a feature, such as "slow@0123456789abcdef"."""
    return view.partition("@")[0]
