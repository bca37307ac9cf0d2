"""Extraction of videos with the very features that a run was trained on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kinestore import heads
from kinestore.pipeline.extract import ExtractionConfig, ExtractionResult, extract
from kinestore.pipeline.extraction.outputs import embedding_outputs
from kinestore.pipeline.extraction.scratch_folder import scratch_folder
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.video.clip_format import parse_frames_name
from kinestore.progress import Progress
from kinestore.store import Store, UsageError


@contextmanager
def extracted_for(
    run: str | Path,
    videos: str | Path,
    *,
    config: ExtractionConfig,
    progress: Progress | None = None,
) -> Iterator[tuple[Store, ExtractionResult]]:
    """Extract what a run's model takes into a temporary store, which the block uses.

    Args:
        run: A finished run.
        videos: A folder, a manifest or a video, as in `find_videos`.
        config: Settings of the extraction, such as the weights.
        progress: Called as by `extract`.

    Raises:
        UsageError: If this machine makes other features than those of the run.
    """
    model = load_model(run)
    frames = heads.takes_frames(model.head.partition(":")[0])
    names = [] if frames else [name.partition("@")[0] for name in model.inputs]
    kept = [_frames_format(name) for name in model.inputs] if frames else []
    if not frames:
        _check_views(model.inputs, names, config)
    with scratch_folder("predict") as folder:
        found = extract(
            videos,
            store=folder / "store",
            extractors=list(dict.fromkeys(names)),
            frames=kept,
            config=config,
            progress=progress,
        )
        yield Store(folder / "store"), found


def _frames_format(name: str) -> str:
    where, _, text = name.partition(":")
    if where == "frames":
        return parse_frames_name(text).name
    return "first:1@16" if text.startswith("random:") else text  # the videos are read instead


def _check_views(inputs: Sequence[str], names: Sequence[str], config: ExtractionConfig) -> None:
    """Refuse other fingerprints before a video is read."""
    outputs = embedding_outputs(
        list(dict.fromkeys(names)),
        weights=config.weights,
        device=config.device,
        frame_choice=config.frame_choice,
    )
    for name in inputs:
        view = name.partition(":")[0]
        made = outputs[view.partition("@")[0]].spec.name
        if made != view:
            raise UsageError(
                f"the run was trained on {view}, and these settings give {made}; extract the "
                "videos into a store with the settings and weights of the run, and predict on that"
            )
