"""A client's side of Flower: its supernode, and the tasks that it hands to this process."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, Message
from flwr.supercore.constant import TaskType

from kinestore.federated.flower_app.child import FlowerProcess, free_port, write_secret
from kinestore.federated.flower_app.runtime import CONNECTION_ERRORS, TaskQueue, answer_task
from kinestore.store import KinestoreError

_RESTART_SECONDS = 3.0
_LINGER_SECONDS = 10.0
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_NEWS_SECONDS = 0.5
_REFUSED_KEY = "[code: "  # of the superlink, which then has answered

ClientAnswer = Callable[[Message, Context], Message]


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """The way of a client to the server.

    Attributes:
        server: host:port.
        authority: Certificate that the server's is checked by; None for no TLS.
        key: The client's private key; None for no key.
        folder: For the log and the secret.
        patience: Seconds without a connection after which the client gives up.
    """

    server: str
    authority: Path | None
    key: Path | None
    folder: Path
    patience: float


def serve_client(
    config: NodeConfig,
    app: ClientAnswer,
    *,
    is_over: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Answer the server's messages until there are no more.

    The supernode is started again when it ends, as it does when the server is.

    Args:
        config: How to reach the server.
        app: Answers a message.
        is_over: Whether the last message was answered.
        say: Takes what a person should know.

    Raises:
        KinestoreError: If the server cannot be reached for so long, or does not know the key.
    """
    last_connected = time.monotonic()
    while True:
        connected, ended = _serve_once(config, app, is_over=is_over, say=say)
        if is_over():
            return
        if connected:
            last_connected = time.monotonic()
            say("the connection to the server was lost; trying again")
        if time.monotonic() - last_connected > config.patience:
            raise _give_up(config, ended)
        time.sleep(_RESTART_SECONDS)


def _serve_once(
    config: NodeConfig,
    app: ClientAnswer,
    *,
    is_over: Callable[[], bool],
    say: Callable[[str], None],
) -> tuple[bool, FlowerProcess]:
    """Run one supernode to its end; return whether it was ever connected."""
    port, secret = free_port(), write_secret(config.folder)
    options = ["--isolation", "process", "--superlink", config.server]
    options += ["--host", "127.0.0.1", "--port", str(port)]
    options += ["--superexec-auth-secret-file", str(secret)]
    options += ["--max-wait-time", str(config.patience)]
    options += (
        ["--insecure"]
        if config.authority is None
        else ["--root-certificates", str(config.authority)]
    )
    if config.key is not None:
        options += ["--auth-supernode-private-key", str(config.key)]
    process = FlowerProcess("supernode", options, log=config.folder / "supernode.log")
    connected, queue = False, None
    try:
        while process.is_running and not is_over():
            if not connected and "SuperNode ID" in process.said():
                connected = True
                queue = TaskQueue(f"127.0.0.1:{port}", secret, authority=None)
                say(f"connected to {config.server}")
            if queue is None:
                time.sleep(_NEWS_SECONDS)
                continue
            try:
                token = queue.acquire(TaskType.CLIENT_APP)
                if token is None:
                    time.sleep(_POLL_SECONDS)
                else:
                    answer_task(queue, token, app)
            except CONNECTION_ERRORS:
                logging.getLogger("flwr").exception("the supernode does not answer")
                time.sleep(_NEWS_SECONDS)
        if is_over() and process.is_running:
            _let_send(process)
    finally:
        if queue is not None:
            queue.close()
        process.end()
        secret.unlink(missing_ok=True)
    return connected, process


def _let_send(process: FlowerProcess) -> None:
    """Wait until the supernode has sent the last answer, and the server had time to take it.

    Flower drops an answer that waits for its server when the node that sent it is gone.
    """
    end = time.monotonic() + _START_SECONDS
    received = process.said().count("Received successfully")
    while process.is_running and time.monotonic() < end:
        if process.said().count("Sent successfully") >= received:
            time.sleep(_LINGER_SECONDS)
            return
        time.sleep(_POLL_SECONDS)


def _give_up(config: NodeConfig, process: FlowerProcess) -> KinestoreError:
    if _REFUSED_KEY in process.said():
        return KinestoreError(
            f"key={config.key}: the server {config.server} refused it for {config.patience:g} s; "
            "have its public key put among the server's clients, or end another client with this "
            "key"
        )
    return KinestoreError(
        f"server={config.server}: no connection for {config.patience:g} s; check address, "
        f"certificate and key, and read {process.log}"
    )
