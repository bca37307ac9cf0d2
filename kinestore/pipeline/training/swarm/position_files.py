"""Files of a swarm in its run folder: the positions of its particles, and its state by epoch.

swarm-FOLD-x1-EPOCH.safetensors      where particle 1 starts its next epoch
swarm-FOLD-best1-EPOCH.safetensors   its best position, where that is none of its starts
swarm-FOLD-EPOCH.json                the state, which names these files; written after them

The states of the last two epochs are kept with their files, so that a damaged file costs an epoch.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.notes import tell
from kinestore.store import StoreError, UsageError
from kinestore.store.io.atomic import write_text, written_whole
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.tensors import read_checkpoint_file
from kinestore.store.io.validated_read import read_json

_ENTRY = "swarm"
_FORMAT = 1
_KEPT = 2
_MAX_STATE_BYTES = 256 << 20
_TENSOR_NAME = re.compile(r"swarm-\d{1,6}-(x|best)\d{1,6}-\d{1,9}\.safetensors")
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64}


@dataclass(frozen=True, kw_only=True)
class ParticleRecord:
    """A particle after one epoch.

    Attributes:
        epoch: 1 for the first.
        particle: 1 for the first.
        learning_rate: Its rate in this epoch.
        train_loss: Mean cross-entropy over the training clips, as `heads.Epoch` has it.
        train_accuracy: Accuracy on the training clips at the same moment.
        validation_loss: Mean cross-entropy after the epoch of SGD, before the exchange.
        validation_accuracy: Accuracy at the same moment.
        test_accuracy: Accuracy on the test clips at the same moment; None without test clips.
        distances: Distance to each particle, itself included.
        step: L2 norm of SGD's own step in this epoch.
        gradients: L2 norm of the term of the neighbors' steps; None without an exchange.
        positions: L2 norm of the term of their positions; None without an exchange.
        best: L2 norm of the terms of the best positions; None without an exchange.
    """

    epoch: int
    particle: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float | None
    distances: list[float]
    step: float
    gradients: float | None = None
    positions: float | None = None
    best: float | None = None


@dataclass(frozen=True, kw_only=True)
class SwarmState:
    """A swarm between two epochs: all that the next one depends on, besides the settings.

    Attributes:
        epoch: Number of finished epochs.
        starts: File of each particle's position.
        bests: File of each particle's best position so far.
        fitness: Fitness of each best position; None where it is that before any epoch.
        best_epochs: Epoch of each best position; 0 before any.
        records: One for each finished epoch and particle.
    """

    epoch: int
    starts: list[str]
    bests: list[str]
    fitness: list[float | None]
    best_epochs: list[int]
    records: list[ParticleRecord] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        """Return the names of all its files."""
        return {*self.starts, *self.bests}


class PositionFile:
    """A position in a safetensors file that this process wrote or checked, read part by part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._entries = json.loads(file.read(size))
        self._begin = 8 + size

    def read(self, name: str, part: slice) -> Tensor:
        """Return a part of a flattened tensor, shape (B,)."""
        entry = self._entries[name]
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        offset = self._begin + entry["data_offsets"][0] + part.start * dtype.itemsize
        values = np.fromfile(self._path, dtype, part.stop - part.start, offset=offset)
        return torch.from_numpy(values)


class PositionFiles:
    """The files of one fold's swarm.

    Args:
        folder: The run folder.
        number: Number of the fold.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number

    def write(self, kind: str, particle: int, epoch: int, tensors: Mapping[str, Tensor]) -> str:
        """Write a position, and return its file's name; it is on disk when this returns.

        Args:
            kind: "x" for where the next epoch starts, or "best".
            particle: 1 for the first.
            epoch: Number of finished epochs.
            tensors: All tensors of the model's state.
        """
        name = f"swarm-{self._number}-{kind}{particle}-{epoch}.safetensors"
        own = {key: tensor.detach().cpu().clone() for key, tensor in tensors.items()}
        with written_whole(self._folder / name) as unfinished:
            save_file(own, unfinished, metadata={_ENTRY: json.dumps({"format": _FORMAT})})
        return name

    def open(self, name: str) -> PositionFile:
        """Open a position that was written, or that `load` has checked."""
        return PositionFile(self._folder / name)

    def load(self, name: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read all tensors of a position.

        Raises:
            ValueError: If the file is damaged, or of another model.
        """
        described, tensors = read_checkpoint_file(self._folder / name, _ENTRY)
        if described.get("format") != _FORMAT:
            raise ValueError(f"{name}: this version reads format {_FORMAT}")
        shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
        if shapes != {key: (tensor.shape, tensor.dtype) for key, tensor in like.items()}:
            raise ValueError(f"{name}: has other tensors than the model")
        return tensors

    def commit(self, state: SwarmState) -> None:
        """Write the state after its files, and remove those that no kept state names."""
        path = self._state_path(state.epoch)
        write_text(path, json_text({"format": _FORMAT, **asdict(state)}) + "\n")
        kept = sorted(self._states())[-_KEPT:]
        named = {name for epoch in kept if epoch != state.epoch for name in self._read(epoch).files}
        wanted = {self._state_path(epoch).name for epoch in kept} | named | state.files
        _remove(path for path in self._all() if path.name not in wanted)

    def newest(self, like: Mapping[str, Tensor], *, particles: int) -> SwarmState | None:
        """Return the newest state whose files can be used; None where there is no state.

        Args:
            like: State of the model, for names, shapes and dtypes.
            particles: N.

        Raises:
            UsageError: If there are states, and none can be used.
        """
        faults = []
        for epoch in sorted(self._states(), reverse=True):
            try:
                state = self._read(epoch)
                _check(state, epoch=epoch, particles=particles)
                for name in sorted(state.files):
                    self.load(name, like)
            except ValueError as error:
                faults.append(f"{self._state_path(epoch)}: {' '.join(str(error).split())[:200]}")
            else:
                tell(f"{fault}; resuming from epoch {epoch}" for fault in faults)
                return state
        if faults:
            raise UsageError(f"{faults[0]}: no checkpoint can be used; run without resuming")
        return None

    def remove(self) -> None:
        """Remove all files of this fold."""
        _remove(self._all())

    def _state_path(self, epoch: int) -> Path:
        return self._folder / f"swarm-{self._number}-{epoch}.json"

    def _all(self) -> Iterable[Path]:
        return list(self._folder.glob(f"swarm-{self._number}-*"))

    def _states(self) -> list[int]:
        parts = [path.stem.split("-") for path in self._all() if path.suffix == ".json"]
        return [int(words[2]) for words in parts if len(words) == 3 and words[2].isdecimal()]

    def _read(self, epoch: int) -> SwarmState:
        """Read a state; raise ValueError where that fails."""
        from pydantic import TypeAdapter  # takes long to import

        name = self._state_path(epoch).name
        try:
            values = read_json(LocalStorage(self._folder), name, max_bytes=_MAX_STATE_BYTES)
        except (OSError, StoreError) as error:
            raise ValueError(error) from error
        if values.pop("format", None) != _FORMAT:
            raise ValueError(f"this version reads format {_FORMAT}")
        adapter = TypeAdapter(SwarmState)
        state: SwarmState = adapter.validate_json(json.dumps(values), strict=True)
        return state


def _check(state: SwarmState, *, epoch: int, particles: int) -> None:
    """Raise ValueError if the parts of a state do not fit each other."""
    lengths = {len(each) for each in (state.starts, state.bests, state.fitness, state.best_epochs)}
    if lengths != {particles}:
        raise ValueError(f"has other numbers of particles than {particles}")
    order = [(record.epoch, record.particle) for record in state.records]
    wanted = [(one, own) for one in range(1, epoch + 1) for own in range(1, particles + 1)]
    if state.epoch != epoch or order != wanted:
        raise ValueError(f"has other epochs than 1 to {epoch}")
    if any(len(record.distances) != particles for record in state.records):
        raise ValueError("a particle has other numbers of distances")
    if not all(0 <= best <= epoch for best in state.best_epochs):
        raise ValueError("a best epoch is none of its epochs")
    if not all(_TENSOR_NAME.fullmatch(name) for name in state.files):
        raise ValueError("names a file that is no position")


def remove_positions(folder: Path) -> None:
    """Remove the files of all swarms of a run folder."""
    _remove(folder.glob("swarm-*-*.safetensors"))
    _remove(path for path in folder.glob("swarm-*-*.json"))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)
