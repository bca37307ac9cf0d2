"""Small swarms on made-up sequences, called with flat keywords."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import kinestore as ks
from tests.helpers.trained import described

HEAD = "temporal_rnn:units=6,dense=6"


def sequences(seed: int = 0, num_rows: int = 45, **changes: Any) -> ks.Features:
    """Three classes in four groups, as sequences of 5 steps of 3 columns that show the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    values = rng.normal(size=(num_rows, 5, 3)).astype(np.float32)
    values += 2 * np.eye(3, dtype=np.float32)[labels][:, None]
    return described(**{"features": values, "labels": labels, "widths": [3], **changes})


def swarm(data: ks.Features | ks.FrameClips, out: Path, **choices: Any) -> ks.RunSummary:
    """Call `kinestore.swarm` for three epochs of a small head, but for the choices."""
    taken: list[dict[str, Any]] = []
    for kind in (ks.SwarmConfig, ks.EvaluationConfig, ks.TrainingConfig):
        names = {field.name for field in fields(kind)} & choices.keys()
        taken.append({name: choices.pop(name) for name in names})
    return ks.swarm(
        data,
        out=out,
        head=choices.pop("head", HEAD),
        particles=ks.SwarmConfig(**taken[0]),
        evaluation=ks.EvaluationConfig(**{"validation": 0.25, **taken[1]}),
        training=replace(ks.SWARM_TRAINING, **{"epochs": 3, **taken[2]}),
        **choices,
    )
