"""What a map's colours can stand for: a value of each clip, or the feature of each point."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinestore.pipeline.runs.client_partition import read_client_partition
from kinestore.pipeline.runs.reader import read_config
from kinestore.store import Features, UsageError

COLORS = ("label", "group", "split", "client", "extractor")


def check_color(color: str, *, run: str | Path | None) -> None:
    """Raise UsageError unless clips can be coloured by that."""
    if color not in COLORS:
        raise UsageError(f"color={color!r}: must be one of {', '.join(COLORS)}")
    if color == "client" and run is None:
        raise UsageError("color='client': needs run, the folder of a federated run")


def clients_of(run: str | Path | None, *, color: str) -> dict[str, int] | None:
    """The client of each clip that a federated run dealt out; None where there is no such run.

    Raises:
        UsageError: If it is no finished run, or clients are the colours and it has none.
    """
    if run is None or (color != "client" and read_config(run)["job"] != "federate"):
        return None
    return read_client_partition(run)


def columns_of(
    features: Features, *, clients: Mapping[str, int] | None
) -> dict[str, list[str | None]]:
    """What is known of each clip, by column; None where a clip has no value."""
    columns = {
        "label": [features.classes[i] if i >= 0 else None for i in features.labels],
        "group": features.groups,
        "split": features.splits,
    }
    if clients is not None:
        digits = len(str(max(clients.values(), default=0)))  # so that client 9 comes before 10
        name_of = {clip: f"client {client:0{digits}}" for clip, client in clients.items()}
        columns["client"] = [name_of.get(clip) for clip in features.clip_ids]
    return columns


def extractors_of(features: Sequence[Features]) -> list[str]:
    """A name for each feature: its extractors, and a number where several features have the same.

    Two pools of one view are such.
    """
    names = [" + ".join(view.partition("@")[0] for view in one.views) for one in features]
    alike = Counter(names)
    return [
        name if alike[name] == 1 else f"{name} ({names[: number + 1].count(name)})"
        for number, name in enumerate(names)
    ]


def check_one_width(features: Sequence[Features]) -> None:
    """Raise UsageError unless features can share a plane."""
    widths = [one.features.shape[-1] for one in features]
    if len(set(widths)) > 1:
        told = ", ".join(
            f"{name} has {width:,}"
            for name, width in zip(extractors_of(features), widths, strict=True)
        )
        raise UsageError(
            f"color='extractor': one plane takes features of one width, but {told}; "
            "leave one out, or give each a panel with another color"
        )
