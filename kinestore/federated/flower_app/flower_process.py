"""Flower's own superlink or supernode as a process that ends with the one that started it.

`python -P flower_process.py superlink|supernode OPTIONS`

Flower serves all its interfaces on one port. Of the superlink's, only the one for clients is open
to the network here, and the one for apps, which asks for a token. The one that registers keys and
starts runs needs a secret, which only the server's own job has: it has no accounts otherwise.
"""

import hmac
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

CONTROL_SECRET = "KINESTORE_CONTROL_SECRET"  # the name of a variable
"""Environment variable that holds the secret of the control interface."""

CONTROL_HEADER = b"x-kinestore-control"
WIRE_PATH = "/kinestore/wire"
"""Address of the count of bytes that clients sent and got."""

_CLIENTS, _APPS = "/v1/fleet/", "/v1/runtime/"
_POLL_SECONDS = 0.5

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class Gate:
    """Refuses what is not for the network, and counts the bytes of clients.

    Args:
        app: The application behind it.
        secret: Of the control interface.
    """

    def __init__(self, app: _Application, *, secret: bytes) -> None:
        self._app, self._secret = app, secret
        self._num_up = self._num_down = 0

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith(_CLIENTS):
            await self._counted(scope, receive, send)
        elif path.startswith(_APPS):
            await self._app(scope, receive, send)
        elif not self._knows_secret(scope):
            await _answer(send, 404, b"")
        elif path == WIRE_PATH:
            counts = {"bytes_up": self._num_up, "bytes_down": self._num_down}
            await _answer(send, 200, json.dumps(counts).encode())
        else:
            await self._app(scope, receive, send)

    def _knows_secret(self, scope: _Message) -> bool:
        given = dict(scope["headers"]).get(CONTROL_HEADER, b"")
        return hmac.compare_digest(given, self._secret)

    async def _counted(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        self._num_up += _header_bytes(scope) + len(scope["raw_path"] or b"")

        async def counted_receive() -> _Message:
            message = await receive()
            self._num_up += len(message.get("body", b""))
            return message

        async def counted_send(message: _Message) -> None:
            self._num_down += _header_bytes(message) + len(message.get("body", b""))
            await send(message)

        await self._app(scope, counted_receive, counted_send)


def _header_bytes(message: _Message) -> int:
    return sum(len(name) + len(value) + 4 for name, value in message.get("headers", ()))


async def _answer(send: _Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _end_with_parent() -> None:
    """End this process in peace when the one that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def run_superlink() -> None:
    """Run Flower's superlink behind the gate; its options are those of the command line."""
    import uvicorn
    from flwr.supercore.http_logging import get_uvicorn_log_config
    from flwr.superlink.main import create_app

    superlink = importlib.import_module("flwr.superlink.cli.flower_superlink")
    secret = os.environ.pop(CONTROL_SECRET).encode()
    config = superlink._parse_superlink_lifespan_config()
    app = create_app(config, superlink.SuperLinkLifespan)
    app.add_middleware(Gate, secret=secret)
    uvicorn.run(
        app,
        host=config.host,
        port=config.port,
        access_log=False,
        log_config=get_uvicorn_log_config(superlink.console_handler.level),
        ssl_keyfile=config.ssl_keyfile,
        ssl_certfile=config.ssl_certfile,
        workers=1,
    )


def run_supernode() -> None:
    """Run Flower's supernode; its options are those of the command line."""
    from flwr.supernode.cli import flower_supernode

    flower_supernode()


if __name__ == "__main__":
    _end_with_parent()
    _name = sys.argv.pop(1)
    {"superlink": run_superlink, "supernode": run_supernode}[_name]()
