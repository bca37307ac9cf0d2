"""`kinestore describe`: what a model costs."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from kinestore.pipeline.commands.console import say, say_json, text_table
from kinestore.pipeline.commands.options import JsonOption

if TYPE_CHECKING:
    from kinestore.pipeline.describe import ModelCost


def describe_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RUN",
            help="An extractor, such as slow; a head or network with its settings, such as "
            "mlp:hidden=512-256 or c3d; or the folder of a finished run.",
        ),
    ],
    classes: Annotated[int, typer.Option(help="Classes of a head or network.")] = 101,
    widths: Annotated[
        str | None,
        typer.Option(
            metavar="A[,B]",
            help="Features of each view that a head takes, such as 2048,768. [default: none, for "
            "networks on frames]",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="Frames or segments of a clip, for networks and heads on sequences. [default: "
            "those of the paper]"
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of a network's frames in pixels. [default: that of the paper]"),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Measure time and memory of a clip here, with random weights."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the parameters, multiply-adds and bytes of a model; no weights are needed."""
    from kinestore.pipeline.describe import describe

    found = describe(
        model,
        num_classes=classes,
        widths=_read_widths(widths),
        num_frames=frames,
        size=size,
        measure=measure,
    )
    if as_json:
        say_json(found.to_json())
    else:
        say(cost_table(found))


def _read_widths(text: str | None) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r}: must be numbers, as 2048,768", param_hint="--widths")
    return tuple(map(int, parts))


def cost_table(found: "ModelCost") -> RenderableType:
    """Return the figures that are known."""
    rows = [("parameters", f"{found.parameters:,}")]
    rows.append(("trained", f"{found.trainable_parameters:,}"))
    for name, count in {
        "sent by a client in a round": found.sent_parameters,
        "parameters with a single output": found.single_output_parameters,
        "multiply-adds of a clip": found.macs,
        "multiply-adds of attention": found.attention_macs,
        "bytes stored of a clip": found.stored_bytes,
    }.items():
        if count is not None:
            rows.append((name, f"{count:,}"))
    if found.input:
        rows.append(("input of a clip", " x ".join(map(str, found.input))))
    if found.ms is not None and found.peak_bytes is not None:
        rows.append((f"ms of a clip ({found.device})", f"{found.ms:.1f}"))
        rows.append((f"peak memory ({found.device})", f"{found.peak_bytes / 1e6:.1f} MB"))
    return text_table(("", ""), rows, title=f"{found.kind} {found.name}", caption=found.note)
