"""The run folder of a training job.

config.json         settings
metrics.csv         one row per epoch or round, written as it happens
model.safetensors   the head as head.*, and standardise.mean and standardise.std (float64)
predictions.parquet the prediction for each test clip
summary.json        results; written last: a run that has it is finished
curves.png, confusion.png
A federated run also has client_metrics.csv, communication.json, client_partition.parquet,
partition.png and clients.png; private parameters of clients are in the model as client.NUMBER.*. A
run that is not finished has checkpoint-FOLD.safetensors; the last of them stays as
state-FOLD.safetensors, from which a run with more epochs or rounds goes on.
"""

import contextlib
import csv
import fcntl
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinestore.heads import Scores, Standardizer
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.plotting.run_charts import LinePanel, draw_confusion, draw_curves
from kinestore.pipeline.runs.client_partition import CLIENT_PARTITION, EARLIER_CLIENT_PARTITION
from kinestore.pipeline.runs.going_on import goes_on
from kinestore.pipeline.runs.predictions import PREDICTIONS, Predictions, write_predictions
from kinestore.pipeline.runs.reader import is_run, read_object
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.training_clips import TRAINING_CLIPS
from kinestore.pipeline.spreadsheet import text_cell
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import is_temporary, naming, write_text, written_whole

_METRICS = "metrics.csv"
CLIENT_METRICS = "client_metrics.csv"
"""Accuracies by round and client."""

_RESULTS = (
    "summary.json",
    _METRICS,
    CLIENT_METRICS,
    "model.safetensors",
    PREDICTIONS,
    CLIENT_PARTITION,
    TRAINING_CLIPS,
    EARLIER_CLIENT_PARTITION,
    "curves.png",
    "confusion.png",
    "partition.png",
    "clients.png",
    "communication.json",
)
_PACKAGES = ("kinestore", "numpy", "scikit-learn", "torch")
_CHECKPOINTS, _STATES = "checkpoint-*.safetensors", "state-*.safetensors"


class _Table:
    """An open CSV file; each row is on disk as soon as `add` returns."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._file = path.open("w", newline="", encoding="utf-8")
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
        self._rows = csv.DictWriter(self._file, columns)
        self.add([{column: column for column in columns}])

    def add(self, rows: Iterable[Mapping[str, float | str | None]]) -> None:
        """Append rows; None becomes an empty cell."""
        with naming(self._path, nameless=True):
            for row in rows:
                cells = {n: text_cell(v) if isinstance(v, str) else v for n, v in row.items()}
                self._rows.writerow(cells)
            self._file.flush()

    def close(self) -> None:
        """Close the file, by whose name an error is reported."""
        with naming(self._path, nameless=True):
            self._file.close()


class Run:
    """An open run folder; use it in a `with` block, which closes its tables.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, *, columns: Sequence[str]) -> None:
        self.path = path
        self._tables = {_METRICS: _Table(path / _METRICS, columns)}

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for table in self._tables.values():
            try:
                table.close()
            except OSError:
                if error is None:
                    raise

    def checkpoint(self, number: int) -> Path:
        """Return the file for a fold's state; it has another name when the run is finished."""
        return self.path / _CHECKPOINTS.replace("*", str(number))

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write another JSON file."""
        _write_json(self.path / name, values)

    def add(self, row: Mapping[str, float | str | None]) -> None:
        """Append a row of metrics, on disk as soon as this returns; None becomes an empty cell."""
        self._tables[_METRICS].add([row])

    def add_clients(self, rows: Sequence[Mapping[str, float | str | None]]) -> None:
        """Append rows to client_metrics.csv, which the first row's names are the header of."""
        if rows and CLIENT_METRICS not in self._tables:
            self._tables[CLIENT_METRICS] = _Table(self.path / CLIENT_METRICS, list(rows[0]))
        if rows:
            self._tables[CLIENT_METRICS].add(rows)

    def write_model(
        self,
        model: nn.Module,
        standardizer: Standardizer,
        *,
        private: Mapping[int, Mapping[str, Tensor]] = MappingProxyType({}),
    ) -> None:
        """Write model.safetensors, with the private tensors of each client."""
        arrays = {f"head.{name}": array.contiguous() for name, array in model.state_dict().items()}
        arrays["standardise.mean"] = torch.from_numpy(standardizer.mean)
        arrays["standardise.std"] = torch.from_numpy(standardizer.std)
        for client, own in private.items():
            arrays |= {f"client.{client}.{name}": array for name, array in own.items()}
        with written_whole(self.path / "model.safetensors") as unfinished:
            save_file(arrays, unfinished)

    def write_pictures(
        self,
        panels: Sequence[LinePanel],
        scores: Scores,
        *,
        classes: Sequence[str],
        x_label: str = "epoch",
    ) -> None:
        """Draw curves.png and confusion.png."""
        draw_curves(self.path / "curves.png", panels, x_label=x_label)
        draw_confusion(self.path / "confusion.png", scores.confusion, classes=classes)

    def finish(self, summary: RunSummary, predictions: Predictions) -> None:
        """Write the predictions and, last, the summary; then rename the checkpoints."""
        write_predictions(self.path, predictions)
        _write_json(self.path / "summary.json", summary.to_json())
        _rename(self.path, "checkpoint-", "state-")


def open_run(
    out: str | Path,
    config: Mapping[str, Any],
    *,
    columns: Sequence[str],
    resume: bool = False,
) -> Run:
    """Start a run in a new or empty folder, replace an earlier run, or resume it.

    An earlier run's own files are removed; other files stay.

    Args:
        out: The folder; its parents are made.
        config: Settings, JSON values, with the job's name under "job".
        columns: Header of metrics.csv.
        resume: Keep the checkpoints of an earlier run of the same config, or of one with fewer
            epochs or rounds; metrics.csv is written again.

    Raises:
        UsageError: If something else is there, or a run that cannot be resumed.
    """
    path = local_path(out)
    if path.exists() and not path.is_dir():
        raise UsageError(f"out={path}: is a file; name a folder")
    if path.is_dir() and not _is_empty(path) and not is_run(path):
        raise UsageError(f"out={path}: holds something that is no run; name a new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    _refuse_if_written(path)
    if resume and is_run(path):
        if goes_on(path, config):
            (path / "summary.json").unlink(missing_ok=True)  # no longer of what config.json says
            _write_json(path / "config.json", config)
        _rename(path, "state-", "checkpoint-")
    else:
        _write_json(path / "config.json", config)
        _remove(path.glob(_CHECKPOINTS))
        _remove(path.glob(_STATES))
    _remove(path / name for name in _RESULTS)
    return Run(path, columns=columns)


def read_finished(out: str | Path, config: Mapping[str, Any]) -> RunSummary | None:
    """Return the summary of a finished run; None where there is none, or one to go on from.

    Raises:
        UsageError: If there is one with other settings.
    """
    path = local_path(out)
    if not (path / "summary.json").exists() or not is_run(path):
        return None
    if goes_on(path, config):
        return None
    return RunSummary.from_json(read_object(path, "summary.json"), path)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "not installed"


def _refuse_if_written(run: Path) -> None:
    """Refuse a run whose metrics another command has open: its files would be of two runs."""
    try:
        with (run / _METRICS).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"out={run}: another command is writing that run; wait for it, or name another folder"
        ) from None
    except OSError:  # no metrics yet, or a file system without locks
        return


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed job left unfinished."""
    return all(is_temporary(path.name) for path in folder.iterdir())


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)


def _rename(folder: Path, old: str, new: str) -> None:
    for path in list(folder.glob(f"{old}*.safetensors")):
        path.replace(path.with_name(new + path.name.removeprefix(old)))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json_text(values, indent=2, ensure_ascii=False) + "\n")
