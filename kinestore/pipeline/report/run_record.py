"""Everything that a report shows of a run, read from its folder and checked.

Shape legend: C clients, K classes.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinestore.federated.communication_cost import QUANTITIES
from kinestore.pipeline.report.curves import CurvePanel, read_curves
from kinestore.pipeline.runs.client_partition import count_client_classes
from kinestore.pipeline.runs.predictions import Predictions, read_predictions
from kinestore.pipeline.runs.reader import read_config, read_object, unusable
from kinestore.pipeline.runs.summary import InvalidSummary, RunSummary
from kinestore.store.io.addresses import local_path

Check = Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class FederatedRecord:
    """Records that only a federated run has.

    Attributes:
        sent: Content of communication.json.
        partition: Training clips by client and class.
        num_clients: C.
    """

    sent: dict[str, Any]
    partition: Counter[tuple[int, str]]
    num_clients: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A finished run.

    Attributes:
        name: Name of its folder.
        config: Content of config.json.
        summary: Its summary.
        classes: K names; `predictions` has no other.
        predictions: Of each test clip.
        curves: Charts of metrics.csv.
        federated: None in a central run.
    """

    name: str
    config: dict[str, object]
    summary: RunSummary
    classes: list[str]
    predictions: Predictions
    curves: list[CurvePanel]
    federated: FederatedRecord | None


def read_run(run: str | Path) -> RunRecord:
    """Read a run folder.

    Raises:
        UsageError: If it is no run, not finished, made before predictions were saved, or has
            invalid values.
    """
    config, predictions = read_config(run), read_predictions(run)
    if not _has(config, _CONFIG):
        raise unusable(run, "config.json: lacks a setting, or has an invalid one")
    summary = _read_summary(run, predictions)
    classes = summary.classes
    _check_names(run, {*predictions.labels, *predictions.predicted}, classes)
    federated = None
    if config["job"] == "federate":
        if summary.federation is None:
            raise unusable(run, "summary.json: lacks a value, or has an invalid one")
        federated = _read_federated(run, predictions, classes)
    return RunRecord(
        name=local_path(run).resolve().name,
        config=config,
        summary=summary,
        classes=classes,
        predictions=predictions,
        curves=read_curves(local_path(run), job=str(config["job"])),
        federated=federated,
    )


def _read_federated(
    run: str | Path, predictions: Predictions, classes: list[str]
) -> FederatedRecord:
    sent: dict[str, Any] = read_object(run, "communication.json")
    partition = count_client_classes(run)
    if not _has(sent, _SENT):
        raise unusable(run, "communication.json: lacks a value, or has an invalid one")
    _check_names(run, {name for _, name in partition}, classes)
    held = {client for client, _ in partition} | set(predictions.clients) - {None}
    num_clients = len(sent["clients"])
    if held and max(client for client in held if client is not None) >= num_clients:
        raise unusable(run, f"a clip belongs to a client beyond the {num_clients} that there are")
    return FederatedRecord(sent=sent, partition=partition, num_clients=num_clients)


def _read_summary(run: str | Path, predictions: Predictions) -> RunSummary:
    try:
        summary = RunSummary.from_json(read_object(run, "summary.json"), local_path(run))
    except InvalidSummary as error:
        reason = "summary.json: lacks a value, or has an invalid one"
        raise unusable(run, f"{reason}, {error}") from error
    right = sum(
        one == other for one, other in zip(predictions.labels, predictions.predicted, strict=True)
    )
    if not predictions.labels or not math.isclose(right / len(predictions.labels), summary.top1):
        raise unusable(run, "summary.json and predictions.parquet are not of one run")
    return summary


def _check_names(run: str | Path, names: set[str], classes: list[str]) -> None:
    if names - set(classes):
        raise unusable(run, "a clip has a class that summary.json does not name")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_real(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(checks: Mapping[str, Check]) -> Check:
    return lambda value: _has(value, checks)


def _has(values: Any, checks: Mapping[str, Check]) -> bool:
    """Return whether it is an object with these entries, each of which passes its check."""
    return isinstance(values, dict) and all(
        name in values and check(values[name]) for name, check in checks.items()
    )


_CONFIG = {
    "head": _is_text,
    "features": _list_of(_is_text),
    "evaluation": _is_text,
    "settings": _is_object,
    "seed": _is_count,
}
_TRAFFIC = dict.fromkeys(QUANTITIES, _is_count)
_SENT = {
    "shared_parameters": _is_count,
    "head_parameters": _is_count,
    "run": _object_of(_TRAFFIC),
    "standardise": _object_of(_TRAFFIC),
    "clients": _list_of(_object_of({"client": _is_count, "rounds": _is_count, **_TRAFFIC})),
    "rounds": _list_of(_is_object),
    "reduction": _object_of(
        {"frozen_parameters": _is_object, "against_whole_network": _or_none(_is_real)}
    ),
}
