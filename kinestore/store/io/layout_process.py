"""A process of its own in which HDF5 files are read: what loops or crashes there does no harm."""

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

from kinestore.store.errors import AccessError
from kinestore.store.io import hdf5_layout
from kinestore.store.io.hdf5_layout import Layout

_WAIT_S = 60.0
"""Time for one file, beside `CPU_SECONDS`: a network may stop."""


def ask_layout(path: Path, name: str) -> Layout:
    """Return what `find_layout` finds, or a fault if the file makes the process loop or crash.

    Raises:
        AccessError: If nothing comes from the disk, or the machine ends the process.
    """
    with _lock:
        return _process.ask(path, name)


class _LayoutProcess:
    """A process that runs `hdf5_layout`; it is started when it is needed, and again if it ends."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, path: Path, name: str) -> Layout:
        """Return the layout of a file; see `ask_layout`."""
        running, answer = self._started(), b""
        requests, answers = cast(IO[bytes], running.stdin), cast(IO[bytes], running.stdout)
        request = json.dumps([str(path.absolute()), name]) + "\n"
        try:
            with contextlib.suppress(BrokenPipeError):
                requests.write(request.encode())
                requests.flush()
                if select.select([answers], [], [], _WAIT_S)[0]:
                    answer = answers.readline()
        finally:
            ended = None if answer.endswith(b"\n") else self.end()
        if ended is None:
            layout: Layout = json.loads(answer)
            return layout
        if ended == -signal.SIGKILL:
            raise AccessError(errno.ETIMEDOUT, "cannot be read (it took too long)", str(path))
        return {"fault": "cannot be read (it makes the HDF5 library loop or crash)"}

    def end(self) -> int:
        """End the process, if there is one of this process, and return its exit code."""
        running, self._running = self._running, None
        if running is None or self._owner != os.getpid():
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=0.2)  # it ends at the end of its input, or has crashed
        running.kill()
        running.communicate()
        return running.returncode

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._running is None or self._owner != os.getpid():  # a fork shares its parent's pipes
            places = os.pathsep.join(place for place in sys.path if place)
            self._owner = os.getpid()
            self._running = subprocess.Popen(
                [sys.executable, "-P", hdf5_layout.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which ends it
                env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
            )
        return self._running


_lock = threading.Lock()
_process = _LayoutProcess()
atexit.register(_process.end)
