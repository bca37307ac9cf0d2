"""The server's side of Flower: its superlink, the keys of clients, and the grid of one run."""

import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.app import Context
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SubStatus
from flwr.common.serde import context_from_proto, run_from_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import PullTaskInputRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from kinestore.federated.flower_app.certificates import ServerCertificates
from kinestore.federated.flower_app.child import FlowerProcess, write_secret
from kinestore.federated.flower_app.flower_process import (
    CONTROL_HEADER,
    CONTROL_SECRET,
    WIRE_PATH,
)
from kinestore.federated.flower_app.runtime import LOST_SECONDS, TaskQueue, heartbeat
from kinestore.store import KinestoreError

_START_SECONDS = 60.0
_POLL_SECONDS = 0.1

_APP = b"""[project]
name = "kinestore-federation"
version = "1.0.0"
description = "Rounds of federated learning. Clients run the code that they have installed."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "kinestore"

[tool.flwr.app.components]
serverapp = "kinestore_federation:server"
clientapp = "kinestore_federation:client"
"""
"""A Flower app without any code: each side runs the one that is installed there."""


class _Control:
    """Adds the secret of the control interface to requests."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Send a request with the secret."""
        context.request.headers[CONTROL_HEADER.decode()] = self._secret
        return call_next(context)


class SuperLink:
    """Flower's superlink as a process of this one.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        certificates: Of the server; None for no TLS and clients without keys.
        folder: For its log and its secret.
    """

    def __init__(
        self, *, host: str, port: int, certificates: ServerCertificates | None, folder: Path
    ) -> None:
        self._secret = secrets.token_hex(32)
        self._authority = None if certificates is None else certificates.authority.read_bytes()
        self._address = f"127.0.0.1:{port}" if host in ("0.0.0.0", "::") else f"{host}:{port}"
        self._apps = write_secret(folder)
        options = ["--isolation", "process", "--disable-runtime-dependency-installation"]
        options += ["--host", host, "--port", str(port)]
        options += ["--superexec-auth-secret-file", str(self._apps)]
        if certificates is None:
            options += ["--insecure"]
        else:
            options += ["--enable-supernode-auth"]
            options += ["--ssl-ca-certfile", str(certificates.authority)]
            options += ["--ssl-certfile", str(certificates.certificate)]
            options += ["--ssl-keyfile", str(certificates.key)]
        self._process = FlowerProcess(
            "superlink",
            options,
            log=folder / "superlink.log",
            environment={CONTROL_SECRET: self._secret},
        )
        self._control = ControlHttpClient.from_server_address(
            self._address,
            certificates is None,
            self._authority,
            [RuntimeVersionHttpInterceptor(component_name="flwr"), _Control(self._secret)],
        )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while self._process.is_running and time.monotonic() < end:
            try:
                self.wire_bytes()
            except httpx.TransportError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        failure = self._process.failure()
        self.end()
        raise failure

    def wire_bytes(self) -> dict[str, int]:
        """Return bytes of all requests and answers of clients so far, as bytes_up and bytes_down.

        Polls and heartbeats are counted, what TLS adds is not.
        """
        url = f"{self._control._base_url}{WIRE_PATH}"
        headers = {CONTROL_HEADER.decode(): self._secret}
        found = self._control._client.get(url, headers=headers).raise_for_status().content
        counts: dict[str, int] = json.loads(found)
        return counts

    def register(self, keys: Mapping[str, bytes]) -> dict[str, int]:
        """Let the clients with these public keys take part, and return their node ids by name."""
        nodes = {}
        for name, key in keys.items():
            answer = self._control.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
            nodes[name] = answer.node_id
        return nodes

    @contextmanager
    def grid(self) -> Iterator[tuple[HttpGrid, Context]]:
        """Start a run, and provide the grid and the context of its server app."""
        fab, _ = build_fab_from_files({"pyproject.toml": _APP})
        answer = self._control.StartRun(StartRunRequest(fab=Fab(content=fab)))
        queue = TaskQueue(self._address, self._apps, authority=self._authority)
        token = queue.wait(TaskType.SERVER_APP, seconds=_START_SECONDS)
        queue.close()
        if token is None or not answer.run_id:
            raise KinestoreError("Flower's superlink started no run; its log says why")
        grid = HttpGrid(self._address, self._authority is None, self._authority, token=token)
        grid._retry_invoker.max_time = LOST_SECONDS
        status = SubStatus.FAILED
        try:
            with heartbeat(grid._runtime_client):
                task = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
                grid.set_run(run_from_proto(task.run))
                TaskIdentity.task_id, TaskIdentity.run_id = task.task_id, task.run.run_id
                TaskIdentity.node_id = task.context.node_id
                yield grid, context_from_proto(task.context)
                status = SubStatus.COMPLETED
        finally:
            try:
                grid._runtime_client.PushTaskOutput(
                    PushTaskOutputRequest(sub_status=status, details="")
                )
            except httpx.HTTPError:
                logging.getLogger("flwr").exception("the end of the run could not be reported")
            grid.close()

    def end(self) -> None:
        """End the process."""
        self._control.close()
        self._process.end()
        self._apps.unlink(missing_ok=True)

    def __enter__(self) -> "SuperLink":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
