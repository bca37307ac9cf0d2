"""The run folder: what a training job leaves behind.

config.json         what was asked for
metrics.csv         a row an epoch or round, written as it happens
model.safetensors   the head as head.*, and standardise.mean and standardise.std (float64)
summary.json        what came of it
curves.png, confusion.png
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from heads import Scores, Standardiser
from pipeline.charts import Panel, draw_confusion, draw_curves
from store import UsageError

_FILES = (
    "config.json",
    "metrics.csv",
    "model.safetensors",
    "summary.json",
    "curves.png",
    "confusion.png",
    "partition.png",
)


class Run:
    """An open run folder; use it in a `with`, so that metrics.csv gets closed.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, *, columns: Sequence[str]) -> None:
        self.path = path
        self._file = (path / "metrics.csv").open("w", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._file, columns)
        self._rows.writeheader()
        self._file.flush()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, row: Mapping[str, float | str | None]) -> None:
        """Append a row of metrics, on disk as soon as this returns; None becomes an empty cell."""
        self._rows.writerow(row)
        self._file.flush()

    def finish(
        self,
        *,
        model: nn.Module,
        standardiser: Standardiser,
        scores: Scores,
        classes: Sequence[str],
        panels: Sequence[Panel],
        x_label: str,
        summary: Mapping[str, Any],
    ) -> None:
        """Write the model, the charts and, last of all, the summary."""
        arrays = {f"head.{name}": array.contiguous() for name, array in model.state_dict().items()}
        arrays["standardise.mean"] = torch.from_numpy(standardiser.mean)
        arrays["standardise.std"] = torch.from_numpy(standardiser.std)
        save_file(arrays, self.path / "model.safetensors")
        draw_curves(self.path / "curves.png", panels, x_label=x_label)
        draw_confusion(self.path / "confusion.png", scores.confusion, classes=classes)
        _write_json(self.path / "summary.json", summary)


def open_run(out: str | Path, config: Mapping[str, Any], *, columns: Sequence[str]) -> Run:
    """Start a run in a new or empty folder, or in place of an earlier run.

    Of an earlier run, its own files are removed and anything else stays.

    Args:
        out: Where; parents are made.
        config: What was asked for, JSON values, with the job's name under "job".
        columns: Header of metrics.csv.

    Raises:
        UsageError: If something else is there.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise UsageError(f"out={path}: is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not _is_run(path):
        raise UsageError(f"out={path}: holds something that is no run; name a new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        (path / name).unlink(missing_ok=True)
    _write_json(path / "config.json", config)
    return Run(path, columns=columns)


def _is_run(path: Path) -> bool:
    """Whether config.json is one of ours; other tools use that name too, beside their weights."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("job") in ("train", "federate")


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
