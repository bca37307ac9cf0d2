"""What a model costs, by its name or from a finished run: the cost columns of papers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinestore import extractors, heads
from kinestore.pipeline.describe.model_cost import ModelCost, cost_of_extractor, cost_of_head
from kinestore.pipeline.runs.reader import is_run, read_config, read_object
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

__all__ = ["ModelCost", "describe"]


def describe(
    model: str | Path,
    *,
    num_classes: int = 101,
    widths: Sequence[int] = (),
    num_frames: int | None = None,
    size: int | None = None,
    measure: bool = False,
) -> ModelCost:
    """Return parameters, multiply-adds and bytes of a model; weights are neither read nor loaded.

    Args:
        model: An extractor, such as "slow"; a head or network, such as "mlp:hidden=512-256" or
            "c3d"; or the folder of a finished run.
        num_classes: Classes of a head or network, 1 or more.
        widths: Features of each view that a head takes, such as (2048, 768).
        num_frames: Frames, or segments, of a clip; None for those of the paper.
        size: Side of a network's frames in pixels; None for that of the paper.
        measure: Whether to measure milliseconds and peak memory of a clip here, with random
            weights.

    Raises:
        UsageError: If there is no such model, or a setting does not fit.
    """
    name = str(model).partition(":")[0]
    if name in heads.names():
        return cost_of_head(
            str(model),
            num_classes=num_classes,
            widths=widths,
            num_frames=num_frames,
            size=size,
            measure=measure,
        )
    path = local_path(model)
    if path.is_dir() and is_run(path):
        return _cost_of_run(path)
    if (path / "config.json").is_file():
        read_config(path)
    if path.exists() or "/" in str(model):
        raise UsageError(f"{model}: is no run, and no name of an extractor, head or network")
    try:
        return cost_of_extractor(str(model), measure=measure)
    except UsageError as error:
        known = ", ".join([*extractors.names(), *heads.names()])
        raise UsageError(f"{model}: is no run, and no name: must be one of {known}") from error


def _cost_of_run(path: Path) -> ModelCost:
    summary = RunSummary.from_json(read_object(path, "summary.json"), path)
    if summary.cost is None:
        raise UsageError(
            f"{path}: was made by an earlier version, which kept no costs; describe its head "
            f"{summary.config.get('head')} by name"
        )
    return replace(
        ModelCost(
            name=str(path),
            kind="run",
            parameters=summary.cost.parameters,
            trainable_parameters=summary.cost.trainable_parameters,
        ),
        sent_parameters=summary.cost.sent_parameters,
        macs=summary.cost.macs,
        attention_macs=summary.cost.attention_macs,
        input=tuple(summary.cost.input),
    )
