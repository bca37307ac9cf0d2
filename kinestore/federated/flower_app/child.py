"""Flower's processes, started and ended by ours, with their logs in a file."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from kinestore.store import KinestoreError

SILENT = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""Environment in which Flower sends nothing to its makers."""

_LAST_LINES = 3
_END_SECONDS = 10
_SCRIPT = Path(__file__).with_name("flower_process.py")
"""Run as a file: importing its package would load torch first."""


class FlowerProcess:
    """A superlink or supernode.

    Args:
        name: "superlink" or "supernode".
        options: As Flower's command of this name takes them.
        log: File that its output is appended to.
        environment: Further variables.
    """

    def __init__(
        self,
        name: str,
        options: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._start = log.stat().st_size
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT), name, *map(str, options)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SILENT, **environment},
                start_new_session=True,  # Ctrl-C of the terminal reaches ours alone, which ends it
            )

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return what it has written to the log so far."""
        with self.log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode("utf-8", errors="replace")

    def failure(self) -> KinestoreError:
        """Return the error for a process that ended by itself."""
        lines = [line for line in self.said().splitlines() if line.strip()]
        said = " ".join(" ".join(lines[-_LAST_LINES:]).split())[-300:]
        return KinestoreError(
            f"Flower's {self.name} ended with status {self._process.poll()} ({said}); its log is "
            f"{self.log}"
        )

    def end(self) -> None:
        """Ask it to end, and wait for it."""
        if self.is_running:
            self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    """Return a port of this machine's loopback that nobody uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def write_secret(folder: Path) -> Path:
    """Write a new secret that only this user can read, for apps to show to Flower."""
    path = folder / "apps.secret"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path
