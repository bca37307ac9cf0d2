"""`kinestore partition`: which client would have which clips, without training."""

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from kinestore.pipeline.commands.console import say, say_json, text_table
from kinestore.pipeline.commands.data_options import ColumnOptions
from kinestore.pipeline.commands.option_groups import takes_groups
from kinestore.pipeline.commands.options import JsonOption, SeedOption, StoreArgument
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.pipeline.training.federated.partition_store import DividedClips

_MOST_LISTED = 50
"""Clients up to which each has a row of the table."""


@takes_groups
def partition_command(
    store: StoreArgument,
    *,
    partition: Annotated[
        str,
        typer.Option(
            help="Which clients hold which clips, as for federate: iid, group, dirichlet:0.6, "
            "client-dirichlet:1, classes:2, ...; docs/training.md lists all."
        ),
    ] = "iid",
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 4,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Divide only the clips that a column marks 'train': column for the split column, "
            "or one of your own, such as split_2. [default: all labeled clips]",
        ),
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="Picture of the clips by client and class to write: .png, .pdf or .svg. "
            "[default: none]",
        ),
    ] = None,
    as_json: JsonOption = False,
    columns: ColumnOptions,
) -> None:
    """Show and draw a partition of a store's clips among clients, without training."""
    from kinestore.pipeline.training.federated.partition_store import partition as divide
    from kinestore.store import Store

    found = divide(
        Store(store),
        partition=partition,
        num_clients=clients,
        seed=seed,
        split=split,
        columns=columns.given(),
        out=out,
    )
    if as_json:
        say_json(found.to_json())
        return
    say(partition_table(found))
    if out is not None:
        say(f"Written to {out}")


def partition_table(found: "DividedClips") -> RenderableType:
    """Return the used and unused clips, and the clips and classes of each client."""
    sizes, classes = found.sizes, found.num_classes
    rows = [("clips that clients have", f"{found.num_used}", "")]
    if found.num_unused:
        rows.append(("clips that no client has", f"{found.num_unused}", ""))
    if found.num_unlabeled:
        rows.append(("left out, no label", f"{found.num_unlabeled}", ""))
    rows += [
        ("fewest of a client", f"{min(sizes)}", f"{min(classes)}"),
        ("median of a client", f"{median(sizes):g}", f"{median(classes):g}"),
        ("most of a client", f"{max(sizes)}", f"{max(classes)}"),
    ]
    if len(sizes) <= _MOST_LISTED:
        each = enumerate(zip(sizes, classes, strict=True))
        rows += [(f"client {number}", str(size), str(of)) for number, (size, of) in each]
    title = f"{found.partition}, {len(sizes)} clients, seed {found.seed}"
    return text_table(("", "clips", "classes"), rows, title=title, right=("clips", "classes"))
