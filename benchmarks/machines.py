"""Seconds and bytes of a round across machines: Flower's own, and ours on top of it.

`python -m benchmarks.machines --clients 3 20`: the MLP 2816-512-256-101 (6.4 MB) goes to each
client and back, without training. Supernodes are real processes on this machine; the clients behind
them answer in processes of their own, with what they got. Flower's seconds are wall time, ours CPU
time of one thread, which other programs on the machine change little.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from flwr.app import Context, Message, RecordDict
from torch import nn

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.communication_cost import payload_bytes
from kinestore.federated.config import RoundsConfig
from kinestore.federated.flower_app.answers import Member
from kinestore.federated.flower_app.certificates import (
    ServerCertificates,
    make_certificates,
    registered_keys,
)
from kinestore.federated.flower_app.child import free_port
from kinestore.federated.flower_app.exchange import Absence, ClientExchange, Roster
from kinestore.federated.flower_app.messages import TRAIN, Offer, Setup
from kinestore.federated.flower_app.records import read_arrays, write_content
from kinestore.federated.flower_app.remote_clients import RemoteClients
from kinestore.federated.flower_app.superlink import SuperLink
from kinestore.federated.flower_app.supernode import NodeConfig, serve_client
from kinestore.federated.model_parts import starting_arrays
from kinestore.federated.round_loop import run_rounds
from kinestore.federated.rounds import RoundRunner
from kinestore.federated.run_checkpoint import CheckpointConfig
from kinestore.heads import create

ROUNDS = 6
FIGURES = {"epochs": 1, "loss": 1.0, "accuracy": 0.5, "top5": 1.0}


def model() -> nn.Module:
    return create("mlp", in_features=2816, num_classes=101, seed=0, hidden=(512, 256))


@dataclass
class Memory(ClientExchange):
    """Answers from this process, and counts the time that they take."""

    roster: Roster
    seconds: list[float] = field(default_factory=list)

    def ask(
        self, kind: str, requests: Mapping[int, RecordDict], *, seconds: float
    ) -> dict[int, RecordDict | Absence]:
        """Send each client back what it got."""
        started = time.process_time()
        found: dict[int, RecordDict | Absence] = {}
        for client, content in requests.items():
            found[client] = write_content(FIGURES, arrays=read_arrays(content, "arrays"))
        self.seconds.append(time.process_time() - started)
        return found


def ours(num_clients: int, folder: Path) -> tuple[float, float]:
    """Return seconds of a round on the server and in one client, without Flower and training."""
    offer = Offer(protocol=1, federation="0" * 32, job={})
    setup = Setup(offer=offer, client=0, classes=[], counts=[])
    member = Member(setup=setup, num_train=9, num_test=0, num_validation=0, standardizer={})
    exchange = Memory(Roster(names=[str(number) for number in range(num_clients)]))
    clients = RemoteClients(
        exchange, [member] * num_clients, quorum=1, seconds=1, has_private=False, say=print
    )
    config = RoundsConfig(rounds=ROUNDS, device="cpu")
    checkpoints = CheckpointConfig(path=folder / "checkpoint.safetensors", every=1)
    runner = RoundRunner(model(), clients, config)
    torch.set_num_threads(1)
    started = time.process_time()
    run_rounds(runner, config, choice=RoundChoice(), checkpoints=checkpoints, on_round=None)
    spent = time.process_time() - started - sum(exchange.seconds)
    return spent / ROUNDS, statistics.median(exchange.seconds) / num_clients


def answer(message: Message, _: Context) -> Message:
    arrays = read_arrays(message.content, "arrays")
    return Message(write_content(FIGURES, arrays=arrays), reply_to=message)


def client(folder: Path, name: str, port: int, over: Event) -> None:
    own, keys = folder / name, folder / "keys" / "keys" / name
    own.mkdir()
    node = NodeConfig(
        server=f"127.0.0.1:{port}",
        authority=keys / "ca.pem",
        key=keys / f"{name}.key",
        folder=own,
        patience=600,
    )
    serve_client(node, answer, is_over=over.is_set, say=lambda _: None)


def flower(num_clients: int, folder: Path) -> tuple[float, float, float]:
    """Return seconds of an exchange with all clients, and bytes up and down on the wire."""
    names = [f"c{number:02}" for number in range(num_clients)]
    make_certificates(folder / "keys", hosts=["127.0.0.1"], clients=names)
    certificates = ServerCertificates.in_folder(folder / "keys")
    context, port = multiprocessing.get_context("spawn"), free_port()
    over = context.Event()
    with SuperLink(host="127.0.0.1", port=port, certificates=certificates, folder=folder) as link:
        nodes = link.register(registered_keys(folder / "keys"))
        processes = [
            context.Process(target=client, args=(folder, name, port, over)) for name in names
        ]
        for process in processes:
            process.start()
        with link.grid() as (grid, _):
            exchange = ClientExchange(grid, Roster(names=names, nodes=nodes))
            while len(exchange.online()) < num_clients:
                time.sleep(1)
            content = write_content({}, arrays=starting_arrays(model()))
            asked = dict.fromkeys(range(num_clients), content)
            exchange.ask(TRAIN, asked, seconds=600)  # the first brings the run along
            before, spent = link.wire_bytes(), []
            for _round in range(ROUNDS):
                started = time.perf_counter()
                found = exchange.ask(TRAIN, asked, seconds=600)
                spent.append(time.perf_counter() - started)
                assert not any(isinstance(each, Absence) for each in found.values()), found
            after = link.wire_bytes()
        over.set()
        for process in processes:
            process.join()
    up, down = (
        (after[name] - before[name]) / ROUNDS / num_clients for name in ("bytes_up", "bytes_down")
    )
    return statistics.median(spent), up, down


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[3, 20])
    counted = payload_bytes(starting_arrays(model()))
    given = parser.parse_args()
    print("clients,flower_s,ours_server_ms,ours_client_ms,counted_bytes,wire_up,wire_down")
    for num_clients in given.clients:
        with tempfile.TemporaryDirectory() as name:
            server, client = ours(num_clients, Path(name))
            spent, up, down = flower(num_clients, Path(name))
        print(
            f"{num_clients},{spent:.2f},{1000 * server:.1f},{1000 * client:.1f},{counted},"
            f"{up:.0f},{down:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
