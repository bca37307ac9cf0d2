"""Small features to train on, and what a run folder then holds."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from kinestore.heads import Standardizer, TrainingConfig, create
from kinestore.store import Features

SHORT = TrainingConfig(epochs=3)

FILES = {
    "config.json",
    "metrics.csv",
    "model.safetensors",
    "predictions.parquet",
    "training_clips.parquet",
    "summary.json",
    "state-0.safetensors",
    "curves.png",
    "confusion.png",
}
"""What a run folder of `train` holds."""


def clips(seed: int = 0, num_rows: int = 60, **changes: Any) -> Features:
    """Three classes in four groups; the first columns tell the class, one column never varies."""
    features, labels = three_classes(seed, num_rows)
    features[:, 9] = 7
    return described(**{"features": features, "labels": labels, **changes})


def three_classes(seed: int, num_rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Ten columns of noise, of which the first three tell the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    features = rng.normal(size=(num_rows, 10)).astype(np.float32)
    features[:, :3] += 4 * np.eye(3, dtype=np.float32)[labels]
    return features, labels


def described(**columns: Any) -> Features:
    """These features and labels as a store gives them, in four groups, but for other columns."""
    num_rows = len(columns["labels"])
    values: dict[str, Any] = {
        "clip_ids": [f"{row:032x}" for row in range(num_rows)],
        "groups": [f"g{row // 3 % 4}" for row in range(num_rows)],
        "splits": [None] * num_rows,
        "uris": [f"/videos/{row}.avi" for row in range(num_rows)],
        "classes": ["jump", "run", "walk"],
        "views": ["motion@0123456789abcdef"],
        "missing": [],
    }
    return Features(**{**values, **columns})


def metrics(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def saved_weights(run: Path) -> dict[str, Tensor]:
    """The head's tensors by their names in the head."""
    arrays = load_file(run / "model.safetensors")
    return {
        name.removeprefix("head."): array
        for name, array in arrays.items()
        if name.startswith("head.")
    }


def saved_mlp(run: Path) -> tuple[nn.Module, Standardizer]:
    """The `mlp` of a run on `clips`, and how to prepare its rows."""
    head = create("mlp", in_features=10, num_classes=3, seed=1)
    head.load_state_dict(saved_weights(run))
    arrays = load_file(run / "model.safetensors")
    mean, std = arrays["standardise.mean"].numpy(), arrays["standardise.std"].numpy()
    return head, Standardizer(mean=mean, std=std)
