"""Checkpoint files: the state of a run between two rounds.

A safetensors file: the key of a tensor is the JSON list of where it belongs, such as
["client", 3, "private", "0.weight"], and the metadata "run" is JSON of all that is no tensor.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from kinestore.federated.best_round import BestRound, lowest_loss
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.state import Arrays, ClientState, ServerState
from kinestore.federated.update_validation import find_fault
from kinestore.store import UsageError
from kinestore.store.io.atomic import written_whole
from kinestore.store.io.tensors import read_checkpoint_file

_FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Settings of a run's checkpoints.

    Attributes:
        path: A file; replaced whole each time.
        every: Rounds between two checkpoints; the last round always has one.
        resume: Whether to continue from the file if it is there.
    """

    path: Path
    every: int = 10
    resume: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every={self.every}: must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class RunCheckpoint:
    """Everything that the next round depends on, besides the settings of the run.

    Attributes:
        identity: Hash of the settings and clients, without the number of rounds.
        server: The server's state.
        clients: State of each client that took part so far.
        records: One for each finished round.
        best: The round that validation prefers so far; None without validation.
    """

    identity: str
    server: ServerState
    clients: Mapping[int, ClientState]
    records: list[RoundRecord]
    best: BestRound | None = None


def write_checkpoint(path: Path, checkpoint: RunCheckpoint) -> None:
    """Replace the file; a killed process leaves either the old or the new file complete."""
    server = checkpoint.server
    arrays: dict[tuple[str | int, ...], Tensor] = {
        ("server", name): array for name, array in server.arrays.items()
    }
    for purpose, kept in server.memory.items():
        arrays |= {("memory", purpose, name): array for name, array in kept.items()}
    for client, state in checkpoint.clients.items():
        for part, kept in {"private": state.private, "correction": state.correction}.items():
            arrays |= {("client", client, part, name): array for name, array in kept.items()}
    if (best := checkpoint.best) is not None:
        arrays |= {("best", name): array for name, array in best.arrays.items()}
        for client, kept in best.private.items():
            arrays |= {("best client", client, name): array for name, array in kept.items()}
    run = {
        "format": _FORMAT,
        "identity": checkpoint.identity,
        "parameters": sorted(server.parameters),
        "order": list(server.arrays),
        "num_clients": server.num_clients,
        "per_round": server.per_round,
        "memory": list(server.memory),
        "clients": sorted(checkpoint.clients),
        "records": [asdict(record) for record in checkpoint.records],
        "best": None if best is None else sorted(best.private),
    }
    tensors = {json.dumps(where): array.contiguous().clone() for where, array in arrays.items()}
    with written_whole(path) as unfinished:
        save_file(tensors, unfinished, metadata={"run": json.dumps(run)})


def read_checkpoint(path: Path) -> RunCheckpoint:
    """Read what `write_checkpoint` wrote.

    Raises:
        UsageError: If the file is damaged, or of another format.
    """
    try:
        run, named = read_checkpoint_file(path, "run")
        if run["format"] != _FORMAT:
            raise ValueError(f"format {run['format']}, this version reads {_FORMAT}")
        return _assemble(run, {tuple(json.loads(key)): array for key, array in named.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{path}: is no checkpoint that can be used ({reason}); set resume=False"
        ) from error


def find_checkpoint_fault(
    found: RunCheckpoint, *, first: ServerState, private: Arrays, num_clients: int
) -> str | None:
    """Return the first reason not to continue from a checkpoint of this run, or None.

    Args:
        found: As it was read.
        first: The server's state before the first round.
        private: Tensors that a client keeps to itself, as the first model has them.
        num_clients: Number of all clients.
    """
    server = found.server
    same = ("parameters", "num_clients", "per_round")
    if any(getattr(server, name) != getattr(first, name) for name in same):
        return "it has other parameters or clients"
    if fault := find_fault(server.arrays, first.arrays):
        return fault
    for purpose, arrays in server.memory.items():
        reference = first.memory.get(purpose, first.arrays if "start" in first.memory else {})
        if fault := find_fault(arrays, reference):
            return f"memory {purpose[:40]!r}: {fault}"
    if missing := sorted(first.memory.keys() - server.memory.keys()):
        return f"memory {missing[0]!r} is missing"
    corrected = {name: first.arrays[name] for name in first.parameters}
    for client, state in found.clients.items():
        if not 0 <= client < num_clients:
            return f"client {client} is none of {num_clients}"
        fault = find_fault(state.private, private)
        if state.correction:
            fault = fault or find_fault(state.correction, corrected)
        if fault:
            return f"client {client}: {fault}"
    numbers = [record.round for record in found.records]
    if numbers != list(range(1, len(numbers) + 1)):
        return "its rounds are not numbered from 1"
    return _find_best_fault(found, first=first, private=private)


def _find_best_fault(found: RunCheckpoint, *, first: ServerState, private: Arrays) -> str | None:
    """Return why the best round of a checkpoint cannot be used, or None."""
    if (found.best is None) != (lowest_loss(found.records) == 0):
        return "its best round is missing"
    if found.best is None:
        return None
    if fault := find_fault(found.best.arrays, first.arrays):
        return f"best round: {fault}"
    for client, own in found.best.private.items():
        if client not in found.clients:
            return f"best round: client {client} took no part"
        if fault := find_fault(own, private):
            return f"best round, client {client}: {fault}"
    return None


def _assemble(run: Mapping[str, Any], tensors: Mapping[tuple[Any, ...], Tensor]) -> RunCheckpoint:
    folders: dict[tuple[Any, ...], dict[str, Tensor]] = defaultdict(dict)
    for (*folder, name), tensor in tensors.items():
        folders[tuple(folder)][name] = tensor
    server = ServerState(
        arrays={name: folders["server",][name] for name in run["order"]},
        parameters=frozenset(run["parameters"]),
        num_clients=run["num_clients"],
        per_round=run["per_round"],
        memory={purpose: folders["memory", purpose] for purpose in run["memory"]},
    )
    clients = {
        client: ClientState(
            private=folders["client", client, "private"],
            correction=folders["client", client, "correction"],
        )
        for client in run["clients"]
    }
    from pydantic import TypeAdapter  # takes long to import

    best_clients = run["best"]
    if not all(type(client) is int for client in [*run["clients"], *(best_clients or [])]):
        raise ValueError("a client has no number")
    records = TypeAdapter(list[RoundRecord]).validate_json(json.dumps(run["records"]), strict=True)
    best = None
    if best_clients is not None:
        best = BestRound(
            number=lowest_loss(records),
            arrays={name: folders["best",][name] for name in run["order"]},
            private={client: folders["best client", client] for client in best_clients},
        )
    return RunCheckpoint(
        identity=run["identity"], server=server, clients=clients, records=records, best=best
    )
