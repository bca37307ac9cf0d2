"""Tasks that Flower has for the apps of this process: the server's rounds, or a client's answer."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.app import Context, Message
from flwr.app.error import Error
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_POLL_SECONDS = 0.05
LOST_SECONDS = 15.0
"""Time without an answer after which a process of Flower is gone; it would be asked forever."""


class TaskQueue:
    """The tasks of a superlink or supernode, for those who know its secret.

    Args:
        address: host:port of its interface for apps.
        secret: File with the secret.
        authority: Certificate of the authority in PEM; None for loopback without TLS.
    """

    def __init__(self, address: str, secret: Path, *, authority: bytes | None) -> None:
        self.address, self.authority = address, authority
        self._client = RuntimeHttpClient.from_server_address(
            address,
            authority is None,
            authority,
            [
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(
                    master_secret=secret.read_bytes(), protected_methods={ACQUIRE}
                ),
            ],
        )

    def acquire(self, kind: TaskType) -> str | None:
        """Return the token of the next task of this kind; None where there is none now."""
        found = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
        return found.token if found.HasField("task") and found.token else None

    def wait(self, kind: TaskType, *, seconds: float) -> str | None:
        """Return the token of the next task; None if there is none in time."""
        end = time.monotonic() + seconds
        while (token := self.acquire(kind)) is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        return token

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    """Tell Flower in the background that the task is being worked on."""
    sender = HeartbeatSender(make_task_heartbeat_fn_http(client))
    sender.start()
    try:
        yield
    finally:
        sender.stop()


def answer_task(queue: TaskQueue, token: str, app: Callable[[Message, Context], Message]) -> None:
    """Have a client's app answer the message of a task.

    The code that the message's run brings along is not looked at: the app is that of this process.

    Raises:
        httpx.HTTPError: If the supernode is gone.
    """
    patient = make_simple_http_retry_invoker()
    patient.max_time = LOST_SECONDS
    client = RuntimeHttpClient.from_server_address(
        queue.address,
        queue.authority is None,
        queue.authority,
        [
            RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
            RuntimeTokenHttpInterceptor(token),
        ],
        retry_invoker=patient,
    )
    try:
        with heartbeat(client):
            message, context, _, _ = pull_task_input(client)
            try:
                reply = app(message, context)
            except Exception as error:
                logging.getLogger("flwr").exception("the client's app failed")
                kind = type(error).__name__  # its text may name files
                failed = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=kind)
                reply = Message(failed, reply_to=message)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
    finally:
        client.close()


CONNECTION_ERRORS = (httpx.HTTPError, ConnectionError)
"""Errors by which a process of Flower turns out to be gone."""
