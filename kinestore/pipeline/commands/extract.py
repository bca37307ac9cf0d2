"""Computing embeddings and taking frames."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.pipeline.commands.options import (
    JsonOption,
    KeyframesOption,
    KeyframeSpaceOption,
    SeedOption,
)
from kinestore.pipeline.commands.tables import say_summary
from kinestore.pipeline.signals import interrupts_held
from kinestore.store.errors import KinestoreError
from kinestore.store.io.paths import as_path

SOME_INPUTS_FAILED = 3


def extract_command(
    videos: Annotated[str, typer.Argument(metavar="VIDEOS", help="A folder, manifest or video.")],
    store: Annotated[str, typer.Option(help="The store's folder; made if absent.")],
    extractor: Annotated[
        list[str] | None, typer.Option("-e", "--extractor", help="May be repeated.")
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(metavar="FRAMES", help="Frames to keep, as segments:8x5@256; repeatable."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="In the place of the publisher's; repeatable."),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(help="keyframes or uniform; each extractor's own way if unset."),
    ] = None,
    keyframes: KeyframesOption = 8,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="A text a line, for clip-text; of the labels if unset.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes; one a core if unset.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running Dask cluster's scheduler.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many inputs.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try failed inputs again.")] = False,
    clip_timeout: Annotated[float, typer.Option(help="Seconds that a clip may take.")] = 600,
    as_json: JsonOption = False,
) -> None:
    """Compute the embeddings, and take the frames, that the store lacks."""
    target, extractors = as_path(store), extractor or []
    try:
        with interrupts_held():  # half-imported libraries answer Ctrl-C in many ways
            from kinestore.extractors import FrameChoice
            from kinestore.pipeline.extraction.extract_videos import extract
            from kinestore.pipeline.extraction.outputs import read_weights
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # of connections cut

        choice = FrameChoice(
            kind=sampling, num_keyframes=keyframes, space=keyframe_space, seed=seed
        )
        with progress() as tell:
            summary = extract(
                videos,
                store=target,
                extractors=extractors,
                kept_frames=frames or [],
                weights=read_weights(weights or [], extractors),
                frames=choice,
                prompts=prompts,
                device=device,
                workers=workers,
                scheduler=scheduler,
                limit=limit,
                retry_failed=retry_failed,
                clip_timeout_s=clip_timeout,
                progress=tell,
            )
    except KeyboardInterrupt:
        raise KinestoreError(
            f"stopped; what was done is kept in {target}: the same command again goes on from there"
        ) from None
    if as_json:
        say(json.dumps(asdict(summary)))
    else:
        say_summary(summary, target)
    if summary.failed:
        raise typer.Exit(SOME_INPUTS_FAILED)
