"""The commands that draw: `keyframes`, `umap` and `explain`."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.options import (
    JsonOption,
    KeyframesOption,
    KeyframeSpaceOption,
    RemoteVideosOption,
    SeedOption,
    StoreArgument,
)
from kinestore.pipeline.commands.tables import explanation_text
from kinestore.store.io.addresses import local_path


def keyframes_command(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", parser=local_path, help="Video file.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=local_path, help="File to write: .png, .pdf or .svg."),
    ],
    keyframes: KeyframesOption = 8,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
) -> None:
    """Draw a contact sheet of a video's keyframes."""
    from kinestore.pipeline.previews.contact_sheet import contact_sheet

    chosen = contact_sheet(video, out=out, num_keyframes=keyframes, space=keyframe_space, seed=seed)
    say(f"Frames {', '.join(map(str, chosen))} written to {out}")


def umap_command(
    store: StoreArgument,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="A[,B]",
            help="Stored features, as VIEW or VIEW:POOL, such as motion; give the option once "
            "for each panel.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="File to write: .png, .svg, .pdf, or .html for the interactive explorer.",
        ),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A[,B]",
            help="Draw only clips with these labels; repeatable. [default: all clips]",
        ),
    ] = None,
    color: Annotated[
        str,
        typer.Option(
            help="Meaning of the colors: label, group, split, client (needs --run), extractor, or "
            "a column of your own, such as camera."
        ),
    ] = "label",
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            parser=local_path,
            help="Run folder to take clients and predictions from. [default: none]",
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Use this snapshot of the store. [default: the present store]"
        ),
    ] = None,
    seed: SeedOption = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Use all cores; the layout then ignores the seed.")
    ] = False,
    recompute_layout: Annotated[
        bool,
        typer.Option(
            "--recompute-layout",
            "--afresh",
            help="Recompute the layout instead of reading it from the cache.",
        ),
    ] = False,
    no_thumbnails: Annotated[
        bool, typer.Option("--no-thumbnails", help="Write the explorer without thumbnails.")
    ] = False,
    remote_videos: RemoteVideosOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw a UMAP projection of embeddings, as a figure or an interactive page."""
    from kinestore.pipeline.previews.thumbnails import unfetched
    from kinestore.pipeline.projection import UmapConfig, umap
    from kinestore.pipeline.projection.common_clips import named_classes
    from kinestore.store import Store

    opened = Store(store, snapshot=snapshot, remote_videos=remote_videos)
    chosen = named_classes(opened, classes) if classes else None
    loaded = [opened.load(one.split(","), labels=chosen) for one in features]
    with progress() as show:
        result = umap(
            loaded,
            out=out,
            config=UmapConfig(
                color=color,
                seed=seed,
                fast=fast,
                recompute_layout=recompute_layout,
                thumbnails=not no_thumbnails,
            ),
            store=opened,
            run=run,
            progress=show,
        )
    left_out = f"; {result.num_left_out} left out (feature missing)" if result.num_left_out else ""
    if Path(out).suffix.lower() == ".html" and not no_thumbnails:
        left_out += unfetched(opened, [clip for one in loaded for clip in one.clip_ids])
    text = f"Map of {result.num_clips} clips written to {out}{left_out}"
    if as_json:
        say_json(result.to_json())
    else:
        say(text)


def explain_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            parser=local_path,
            help="Folder of a finished run of a network on frames, such as runs/c3d.",
        ),
    ],
    video: Annotated[
        str,
        typer.Option(
            metavar="VIDEO", help="Video to explain: a file, or an s3:// or gs:// address."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="File to write: .png or .gif.")
    ],
    label: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Class to explain. [default: the predicted class]"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Layer for Grad-CAM: res2 to res5, for c3d conv1 to conv5. [default: the last]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw where in a video a trained network sees the evidence for a class, by Grad-CAM."""
    from kinestore.pipeline.explain import explain

    result = explain(run, video=video, out=out, label=label, layer=layer)
    if as_json:
        say_json(result.to_json())
    else:
        say(explanation_text(result.to_json()))
