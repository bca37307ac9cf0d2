"""The meaning of a map's colors: a value of each clip, or the feature of each point."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinestore.pipeline.runs.client_partition import read_client_partition
from kinestore.pipeline.runs.reader import read_config
from kinestore.store import Features, UsageError

COLORS = ("label", "group", "split", "client", "extractor")


def check_color(color: str, features: Sequence[Features], *, run: str | Path | None) -> None:
    """Raise UsageError unless clips can be colored by that."""
    own = sorted(features[0].own_columns)
    if color not in (*COLORS, *own):
        listed = f"{', '.join(COLORS)}, or a column of your own: {', '.join(own) or 'none'}"
        raise UsageError(f"color={color!r}: must be one of {listed}")
    if color == "client" and run is None:
        raise UsageError("color='client': needs run, the folder of a federated run")


def clients_of(run: str | Path | None, *, color: str) -> dict[str, int] | None:
    """Return the client of each clip of a federated run; None where there is no such run.

    Raises:
        UsageError: If it is no finished run, or clients are the colors and it has none.
    """
    if run is None or (color != "client" and read_config(run)["job"] != "federate"):
        return None
    return read_client_partition(run)


def point_columns(
    features: Sequence[Features],
    *,
    color: str = "label",
    clients: Mapping[str, int] | None,
    with_extractors: bool,
) -> dict[str, list[str | None]]:
    """Return the values of each point, by column; None where a clip has no value.

    Args:
        features: Those that share a panel, of the same clips.
        color: Meaning of the colors; a column of the user's own is added.
        clients: Client by clip_id; None for no such column.
        with_extractors: Add a column "extractor".
    """
    first = features[0]
    columns = {
        "label": first.column("label"),
        "group": first.groups,
        "split": first.splits,
    }
    if color in first.own_columns and color not in COLORS:
        columns[color] = first.own_columns[color]
    if clients is not None:
        digits = len(str(max(clients.values(), default=0)))  # so that client 9 comes before 10
        name_of = {clip: f"client {client:0{digits}}" for clip, client in clients.items()}
        columns["client"] = [name_of.get(clip) for clip in first.clip_ids]
    columns = {name: list(values) * len(features) for name, values in columns.items()}
    if with_extractors:
        columns["extractor"] = [name for name in _extractors(features) for _ in first.clip_ids]
    return columns


def _extractors(features: Sequence[Features]) -> list[str]:
    """Name each feature by its extractors, with a number where several have the same.

    Two pools of one view are such.
    """
    names = [" + ".join(view.partition("@")[0] for view in one.views) for one in features]
    num_same = Counter(names)
    return [
        name if num_same[name] == 1 else f"{name} ({names[: number + 1].count(name)})"
        for number, name in enumerate(names)
    ]


def check_one_width(features: Sequence[Features]) -> None:
    """Raise UsageError unless features can share a plane."""
    widths = [one.features.shape[-1] for one in features]
    if len(set(widths)) > 1:
        each = ", ".join(
            f"{name} has {width:,}"
            for name, width in zip(_extractors(features), widths, strict=True)
        )
        raise UsageError(
            f"color='extractor': one plane takes features of one width, but {each}; "
            "leave one out, or give each a panel with another color"
        )
