"""A separate process for each library: its own FFmpeg, and no crash or hang of the others."""

import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any


class LibraryFailed(Exception):
    """The function raised, its process died, or it did not answer in time."""


class Isolated:
    """Calls one function in a child process that stays, and starts a new one where that dies.

    Args:
        function: Of a module's top level; what it takes and returns is pickled.
        timeout_s: Seconds to wait for an answer before the child is killed.
        one_core: Whether the child, with all of its threads, stays on one core (Linux alone).
    """

    def __init__(
        self, function: Callable[..., Any], *, timeout_s: float, one_core: bool = False
    ) -> None:
        self._function = function
        self._timeout_s = timeout_s
        self._one_core = one_core
        self._child: Any = None

    def call(self, *arguments: object) -> Any:
        """The function's answer.

        Raises:
            LibraryFailed: With a message of one line.
        """
        if self._child is None:
            self._start()
        self._connection.send(arguments)
        try:
            if not self._connection.poll(self._timeout_s):
                self.close()
                raise LibraryFailed(f"no answer within {self._timeout_s:g} s")
            well, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._child.join()
            status = self._child.exitcode
            self.close()
            raise LibraryFailed(f"the process died (exit status {status})") from None
        if not well:
            raise LibraryFailed(answer)
        return answer

    def close(self) -> None:
        """End the child; the next call starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._connection.close()
            self._child = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        arguments = (self._function, far_end, self._one_core)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        self._child.start()
        far_end.close()


def left_out(libraries: Iterable[str]) -> dict[str, str]:
    """Libraries that cannot be imported, and for each one line on why, with the remedy."""
    reasons = {}
    for name in libraries:
        loader = Isolated(_load, timeout_s=60)
        try:
            loader.call(name)
        except LibraryFailed as failure:
            installed = importlib.util.find_spec(name) is not None
            remedy = f"does not load ({failure})" if installed else f"pip install {name}"
            reasons[name] = f"{name} is left out: {remedy}"
        loader.close()
    return reasons


def versions() -> str:
    """Return the compared versions in one line; torchcodec uses the FFmpeg of the system."""
    found = []
    for name in ("av", "decord", "torchcodec", "opencv-python-headless", "imageio-ffmpeg"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def _load(name: str) -> None:
    importlib.import_module(name)


def _serve(function: Callable[..., Any], connection: Connection, one_core: bool) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # FFmpeg complains there about broken files
    if one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, function(*arguments)))
        except Exception as error:  # whatever a library raises is its answer
            text = str(error).strip() or "no message"
            connection.send((False, f"{type(error).__name__}: {text.splitlines()[0]}"))
