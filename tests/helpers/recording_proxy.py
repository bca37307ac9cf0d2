"""A proxy on loopback that keeps all bytes that pass."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class RecordingProxy:
    """Forwards each connection to a port of this machine.

    Args:
        target: The port behind it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.up, self.down = bytearray(), bytearray()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        self._threads.append(threading.Thread(target=work, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                self._start(self._forward, near, far, self.up)
                self._start(self._forward, far, near, self.down)

    def _forward(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                kept += block
                sink.sendall(block)
        _shut(source, sink)

    def close(self) -> None:
        """Take no more connections, and close all."""
        _shut(self._listener, *self._ends)
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._ends):
            end.close()


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
