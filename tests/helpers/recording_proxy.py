"""A proxy on loopback that keeps all bytes that pass."""

import socket
import threading
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
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                for one, other, kept in ((near, far, self.up), (far, near, self.down)):
                    threading.Thread(
                        target=self._forward, args=(one, other, kept), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                kept += block
                sink.sendall(block)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
