"""Training jobs called with flat keywords, as the command line has them; results as JSON values."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import kinestore as ks
from kinestore.pipeline.training.federated.federate import default_client_training
from kinestore.pipeline.training.train import default_training
from kinestore.progress import Progress

Json = dict[str, Any]


def network_config(**changes: Any) -> ks.TrainingConfig:
    """Return the default settings of networks, with changes, on the CPU."""
    return replace(ks.NETWORK_TRAINING, **{"device": "cpu", **changes})


def train(data: ks.Features | ks.FrameClips, *, out: Path, **choices: Any) -> Json:
    """Call `kinestore.train`; return what summary.json holds."""
    evaluation = ks.EvaluationConfig(**_taken(choices, ks.EvaluationConfig))
    training = choices.pop("settings", None) or default_training(data)
    how = _taken(choices, ks.TrainingConfig)
    summary = ks.train(
        data, out=out, evaluation=evaluation, training=replace(training, **how), **choices
    )
    return summary.to_json()


def federate(data: ks.Features | ks.FrameClips, *, out: Path, **choices: Any) -> Json:
    """Call `kinestore.federate`; return what summary.json holds."""
    if "clients" in choices:
        choices["num_clients"] = choices.pop("clients")
    federation = ks.FederationConfig(**_taken(choices, ks.FederationConfig))
    evaluation = ks.EvaluationConfig(**_taken(choices, ks.EvaluationConfig))
    training = choices.pop("settings", None) or default_client_training(data)
    how = _taken(choices, ks.TrainingConfig)
    summary = ks.federate(
        data,
        out=out,
        federation=federation,
        evaluation=evaluation,
        training=replace(training, **how),
        **choices,
    )
    return summary.to_json()


def train_network(store: ks.Store, *, out: Path, **choices: Any) -> Json:
    """Call `kinestore.train` on clips of frames."""
    return train(ks.FrameClips(store=store, **_taken(choices, ks.FrameClips)), out=out, **choices)


def federate_network(store: ks.Store, *, out: Path, **choices: Any) -> Json:
    """Call `kinestore.federate` on clips of frames."""
    clips = ks.FrameClips(store=store, **_taken(choices, ks.FrameClips))
    return federate(clips, out=out, **choices)


def watch(ticks: list[tuple[int, int, str]]) -> Progress:
    """Return a progress callback that notes what is done, the total and the note."""

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        ticks.append((done, total, note))

    return progress


def _taken(choices: dict[str, Any], kind: Any) -> Mapping[str, Any]:
    """Remove and return the keywords that are fields of a config."""
    names = {field.name for field in fields(kind)} & choices.keys()
    return {name: choices.pop(name) for name in names}
