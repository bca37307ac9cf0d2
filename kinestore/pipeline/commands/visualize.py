"""Pictures."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import explanation, progress, say
from kinestore.pipeline.commands.options import (
    JsonOption,
    KeyframesOption,
    KeyframeSpaceOption,
    SeedOption,
    StoreArgument,
)
from kinestore.store.io.paths import local_path


def keyframes_command(
    video: Annotated[Path, typer.Argument(metavar="VIDEO")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="A .png, .pdf or .svg file.")
    ],
    keyframes: KeyframesOption = 8,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
) -> None:
    """Draw a contact sheet of a video's keyframes."""
    from kinestore.pipeline.previews.contact_sheet import contact_sheet

    chosen = contact_sheet(video, out=out, num_keyframes=keyframes, space=keyframe_space, seed=seed)
    say(f"Frames {', '.join(map(str, chosen))} drawn in {out}")


def umap_command(
    store: StoreArgument,
    features: Annotated[
        list[str],
        typer.Option(metavar="A[,B]", help="Views as VIEW or VIEW:POOL; once for each panel."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=local_path, help="A .png, .svg, .pdf or .html file."),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option(metavar="A[,B]", help="Only these labels; repeatable."),
    ] = None,
    color: Annotated[
        str, typer.Option(help="label, group, split, client (with --run) or extractor.")
    ] = "label",
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", parser=local_path, help="Whose clients, and predictions on a page."
        ),
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the parts that it pins.")
    ] = None,
    seed: SeedOption = 0,
    fast: Annotated[bool, typer.Option("--fast", help="All cores, no seed of the layout.")] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Lay all clips out anew, as if no layout was kept.")
    ] = False,
    no_thumbnails: Annotated[
        bool, typer.Option("--no-thumbnails", help="A page without pictures of the clips.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the clips on a plane, near where their embeddings are near."""
    from kinestore.pipeline.projection import umap
    from kinestore.pipeline.projection.common_clips import named_classes
    from kinestore.store import Store

    opened = Store(store, snapshot=snapshot)
    chosen = named_classes(opened, classes) if classes else None
    loaded = [opened.load(one.split(","), labels=chosen) for one in features]
    with progress() as tell:
        drawn = umap(
            loaded,
            color=color,
            seed=seed,
            fast=fast,
            afresh=afresh,
            store=opened,
            run=run,
            thumbnails=not no_thumbnails,
            on_progress=partial(tell, "thumbnails"),
            out=out,
        )
    lacking = f"; {drawn.num_left_out} lack a view and are left out" if drawn.num_left_out else ""
    told = f"{drawn.num_clips} clips drawn in {out}{lacking}"
    say(json.dumps(asdict(drawn), default=str) if as_json else told)


def explain_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", parser=local_path, help="A finished run of a net that takes frames."
        ),
    ],
    video: Annotated[
        str, typer.Option(metavar="VIDEO", help="The video to look at; also s3:// or gs://.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="A .png or .gif file.")
    ],
    label: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="To look for; unset, what the net names."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="res5", help="res2 to res5, of c3d conv1 to conv5; the last."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw where in a video a trained net sees the class, by Grad-CAM."""
    from kinestore.pipeline.explain import explain

    told = explain(run, video=video, out=out, label=label, layer=layer)
    say(json.dumps(told) if as_json else explanation(told))
