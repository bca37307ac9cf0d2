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

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinestore.federated.round_record import RoundRecord
from kinestore.federated.state import ClientState, ServerState
from kinestore.federated.update_validation import RejectedUpdate
from kinestore.store import UsageError
from kinestore.store.io.atomic import written_whole

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RunCheckpoint:
    """Everything that the next round depends on, besides the settings of the run.

    Attributes:
        identity: Hash of the settings and clients, without the number of rounds.
        server: The server's state.
        clients: State of each client that took part so far.
        records: One for each finished round.
    """

    identity: str
    server: ServerState
    clients: Mapping[int, ClientState]
    records: list[RoundRecord]


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
        with safe_open(path, framework="pt") as file:
            run = json.loads(file.metadata()["run"])
            tensors = {tuple(json.loads(key)): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if run["format"] != _FORMAT:
            raise ValueError(f"format {run['format']}, this version reads {_FORMAT}")
        return _assemble(run, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: is no checkpoint that can be used ({error}); set resume=False"
        ) from error


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
    records = [
        RoundRecord(
            **{
                **record,
                "participants": tuple(record["participants"]),
                "refusals": tuple(RejectedUpdate(**rejected) for rejected in record["refusals"]),
            }
        )
        for record in run["records"]
    ]
    return RunCheckpoint(identity=run["identity"], server=server, clients=clients, records=records)
