"""A server and clients as processes on this machine, as they run on several."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kinestore.federated.flower_app.certificates import make_certificates
from kinestore.federated.flower_app.child import free_port
from kinestore.pipeline.extract import extract
from kinestore.store import Features, Store
from tests.helpers.leftovers import wait_until

SEQUENCES = {"north": ("seq01", "seq02"), "south": ("seq03", "seq04"), "west": ("seq05", "seq06")}
"""Sequences of UT-Interaction that each client has; the last of them is tested."""


def interaction_stores(data: Path, folder: Path) -> dict[str, Path]:
    """Extract motion from some sequences into a store for each client."""
    with (data / "ut_interaction_set1" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stores = {}
    for name, sequences in SEQUENCES.items():
        manifest = folder / f"{name}.csv"
        with manifest.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["video", "label", "group", "split"])
            for row in rows:
                if row["group"] in sequences:
                    split = "test" if row["group"] == sequences[-1] else "train"
                    video = data / "ut_interaction_set1" / row["video"]
                    table.writerow([video, row["label"], name, split])
        stores[name] = folder / name
        extract(manifest, store=stores[name], extractors=["motion"])
    return stores


def together(stores: Mapping[str, Path], features: str = "motion") -> Features:
    """Return the clips of all stores as one store would give them."""
    parts = [Store(path).load([features]) for path in stores.values()]
    first = parts[0]
    assert all(part.classes == first.classes and part.views == first.views for part in parts)
    joined: dict[str, Any] = {
        name: [value for part in parts for value in getattr(part, name)]
        for name in ("clip_ids", "groups", "splits", "uris")
    }
    everything = replace(
        first,
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        own_columns={},
        **joined,
    )
    return everything.select(np.argsort(np.array(joined["clip_ids"])))


class Machine:
    """A command of Kinestore as a process of its own.

    Args:
        arguments: Module, and its arguments.
        output: File for what it prints.
    """

    def __init__(self, arguments: Sequence[str | Path], output: Path) -> None:
        self.output = output
        with output.open("ab") as file:
            self._start = output.stat().st_size
            self.process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def said(self) -> str:
        """Return what it has printed."""
        return self.output.read_bytes()[self._start :].decode(errors="replace")

    def wait(self, seconds: float = 300) -> int:
        """Wait until it ends, and return its status."""
        return self.process.wait(seconds)

    def wait_for(self, text: str, seconds: float = 200) -> None:
        """Wait until it has printed a text."""
        found = wait_until(lambda: text in self.said() or self.process.poll() is not None, seconds)
        assert found and text in self.said(), self.said()

    def kill(self) -> None:
        """Kill it as a power cut does, but for what it started, which notices by itself."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """End it and all that it started."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            for each in children:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            psutil.wait_procs(children, timeout=10)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Machines:
    """The machines of a federation.

    Args:
        folder: For all their files.
        stores: The store of each client.

    Attributes:
        port: The server's port.
        reached: The port by which clients reach it.
    """

    def __init__(self, folder: Path, stores: Mapping[str, Path]) -> None:
        self.folder, self.stores, self.port = folder, stores, free_port()
        self.reached = self.port
        self.certificates = folder / "federation"
        make_certificates(self.certificates, hosts=["127.0.0.1"], clients=sorted(stores))
        self.started: list[Machine] = []

    def server(self, run: Path, *options: str | Path) -> Machine:
        """Start the server."""
        given: list[str | Path] = ["--out", run, "--certificates", self.certificates]
        given += ["--host", "127.0.0.1", "--port", str(self.port), "--split", "column", *options]
        return self._start(["federation", "server", *given], self.folder / "server.txt")

    def client(
        self,
        name: str,
        *options: str | Path,
        kind: str | None = None,
        keys: Path | None = None,
        folder: str | None = None,
    ) -> Machine:
        """Start a client, which misbehaves where it is of a kind of `broken_machine`."""
        given: list[str | Path] = ["--server", f"127.0.0.1:{self.reached}", *options]
        given += ["--features", "motion", "--folder", self.folder / f"client-{folder or name}"]
        given += ["--certificates", keys or self.certificates / "keys" / name]
        arguments = ["federation", "client", self.stores[name], *given]
        return self._start(arguments, self.folder / f"{folder or name}.txt", kind=kind)

    def stranger(self) -> Path:
        """Make a key that the server does not know."""
        make_certificates(self.folder / "elsewhere", hosts=["127.0.0.1"], clients=["stranger"])
        keys = self.folder / "elsewhere" / "keys" / "stranger"
        shutil.copy(self.certificates / "server" / "ca.pem", keys / "ca.pem")
        return keys

    def _start(
        self, arguments: Sequence[str | Path], output: Path, *, kind: str | None = None
    ) -> Machine:
        program = ["kinestore"] if kind is None else ["tests.helpers.broken_machine", kind]
        machine = Machine([*program, *arguments], output)
        self.started.append(machine)
        return machine

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.started:
            machine.end()
