"""What a killed job could leave behind: processes, files, shared memory."""

import contextlib
import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

OF_JOBS = ("kinestore", "dask", "sem.", "psm_")
"""Beginnings of the names of what a job could leave in shared memory."""


def shared() -> set[str]:
    """Entries of shared memory that a job could have made, or a test that runs beside this one."""
    folder = Path("/dev/shm")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {name for name in names if name.startswith(OF_JOBS)}


def left_in(folder: Path) -> list[Path]:
    """Files in the folder for temporary files, and folders other than the user's caches."""
    own = {folder / f"kinestore-{os.getuid()}", folder / f"torchinductor_{getpass.getuser()}"}
    return [path for path in folder.rglob("*") if path not in own]


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def processes_of(token: str) -> list[psutil.Process]:
    """Processes that were started, however indirectly, with this token in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("KILL_TOKEN") == token:
                found.append(process)
    return found
