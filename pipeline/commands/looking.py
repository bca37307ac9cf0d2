"""Pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    JsonOption,
    KeyframesOption,
    KeyframeSpaceOption,
    SeedOption,
    StoreArgument,
)
from pipeline.console import (
    say,
)
from store.place import local_path


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
    from pipeline.contact_sheet import contact_sheet

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
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Only these labels.")] = None,
    color: Annotated[str, typer.Option(help="label, group or split.")] = "label",
    seed: SeedOption = 0,
    fast: Annotated[bool, typer.Option("--fast", help="All cores, no seed of the layout.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the clips on a plane, near where their embeddings are near."""
    from pipeline.umap import umap
    from store import Store

    chosen = classes.split(",") if classes else None
    loaded = [Store(store).load(one.split(","), labels=chosen) for one in features]
    drawn = umap(loaded, color=color, seed=seed, fast=fast, out=out)
    lacking = f"; {drawn.num_left_out} lack a view and are left out" if drawn.num_left_out else ""
    told = f"{drawn.num_clips} clips drawn in {out}{lacking}"
    say(json.dumps(asdict(drawn), default=str) if as_json else told)
