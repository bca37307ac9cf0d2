"""The command `kinestore extract`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say_json
from kinestore.pipeline.commands.options import (
    JsonOption,
    KeyframeSpaceOption,
    SeedOption,
)
from kinestore.pipeline.commands.tables import say_extraction
from kinestore.store.errors import KinestoreError
from kinestore.store.io.addresses import local_path, open_storage

SOME_INPUTS_FAILED = 3


def extract_command(
    videos: Annotated[
        str,
        typer.Argument(
            metavar="VIDEOS",
            help="A folder of videos, a manifest (.csv, .parquet or .txt), or one video.",
        ),
    ],
    store: Annotated[
        str, typer.Option(help="Folder of the store, such as mystore; made if absent.")
    ],
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--extractor",
            metavar="NAME[:SETTING=VALUE,...]",
            help="Extractor, such as motion or cnn-densenet201:sampling=first:10of100,crop=square; "
            "r3d:weights=a.pt,as=r3d-ucf names the view of a checkpoint; repeatable.",
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FRAMES",
            help="Clips of frames to store, such as segments:8x5@256 (8 segments of 5 frames, 256 "
            "pixels), even:16@224, step:4@224, first:10of40@112 or pieces:4x16@112; repeatable.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Checkpoint to use instead of the published one, such as slow=slow.pyth; "
            "repeatable.",
        ),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Frames that extractors see: keyframes, uniform, step:4, first:40, first:10of100, "
            "random:16, or for networks on clips pieces:8. [default: each extractor's own]",
        ),
    ] = None,
    keyframes: Annotated[
        int | None,
        typer.Option(
            help="Number of keyframes of a clip. [default: 8; r3d 3, videomae 16]",
        ),
    ] = None,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
    prompts: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            help="Text file with one prompt a line, for clip-text. [default: made from labels]",
        ),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Official list of training or test clips beside a folder of videos, or a folder "
            "of lists: of UCF101, HMDB51, Kinetics or Something-Something; repeatable.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes. [default: one for each GPU, else for each core]"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of a running Dask cluster, such as tcp://10.0.0.1:8786. "
            "[default: workers on this machine]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Use only the first LIMIT videos. [default: all]")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Try videos again that failed before.")
    ] = False,
    clip_timeout: Annotated[
        float, typer.Option(help="Seconds that one clip may take before it fails.")
    ] = 600,
    as_json: JsonOption = False,
) -> None:
    """Add the missing embeddings and clips of frames of videos to a store."""
    try:
        from kinestore.extractors import FrameChoice
        from kinestore.pipeline.extraction.config import ExtractionConfig
        from kinestore.pipeline.extraction.extract_videos import extract
        from kinestore.pipeline.extraction.outputs import parse_weights

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # of connections cut

        choice = FrameChoice(
            kind=sampling, num_keyframes=keyframes, space=keyframe_space, seed=seed
        )
        config = ExtractionConfig(
            weights=parse_weights(weights or [], extractor or []),
            frame_choice=choice,
            prompts=prompts,
            splits=tuple(splits or ()),
            device=device,
            scheduler=scheduler,
            limit=limit,
            retry_failed=retry_failed,
            clip_timeout_s=clip_timeout,
        )
        with progress() as show:
            result = extract(
                videos,
                store=store,
                extractors=extractor or [],
                frames=frames or [],
                workers=workers,
                config=config,
                progress=show,
            )
    except KeyboardInterrupt:
        raise KinestoreError(
            f"stopped; finished clips are in {open_storage(store).address}: run the same command "
            "to resume"
        ) from None
    if as_json:
        say_json(result.to_json())
    else:
        say_extraction(result)
    if result.num_failed:
        raise typer.Exit(SOME_INPUTS_FAILED)
