"""The command line in processes that start at once, for tests that start and kill many.

A process imports what the commands need and then forks one child for each command: the child is a
whole job of its own, with a process group of its own, but without seconds of imports before it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.helpers.paths import ROOT

_IMPORTS = """
import kinestore.__main__, kinestore.pipeline.extract, kinestore.pipeline.report
import kinestore.pipeline.extraction.extract_videos, kinestore.pipeline.projection
import kinestore.pipeline.export, kinestore.pipeline.verification
import kinestore.pipeline.training.federated.federate, kinestore.pipeline.training.train
import kinestore.pipeline.training.swarm.swarm
import kinestore.pipeline.runs.writer, kinestore.pipeline.plotting
import h5py, matplotlib.figure, sklearn.manifold, sklearn.model_selection, sklearn.neighbors
import torch._dynamo  # an optimizer imports it with its first step
"""

_SERVER = (
    _IMPORTS
    + """
import json, os, signal, sys
for line in sys.stdin:
    command, errors = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        os.dup2(2, 1)
        sys.argv = ["kinestore", *command]
        kinestore.__main__.main()
        sys.exit()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)


class Job:
    """A command that runs.

    Attributes:
        pid: Of its process, which leads a process group.
    """

    def __init__(self, pid: int, answers: IO[str], errors: Path) -> None:
        self.pid = pid
        self._answers = answers
        self._errors = errors

    def kill(self, *, group: bool = False) -> None:
        """Send SIGKILL to the process, or to its group."""
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Return its exit status, below 0 for a signal, and all that it wrote."""
        status = int(self._answers.readline())
        return status, self._errors.read_text(errors="replace")


class CommandLine:
    """Starts one command at a time."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server = server
        self._errors = folder / "errors.txt"

    def start(self, *command: str) -> Job:
        """Start `kinestore COMMAND...`."""
        requests, answers = self._server.stdin, self._server.stdout
        assert requests is not None and answers is not None
        requests.write(json.dumps([command, str(self._errors)]) + "\n")
        requests.flush()
        return Job(int(answers.readline()), answers, self._errors)


@contextmanager
def preloaded_command_line(folder: Path, environment: Mapping[str, str]) -> Iterator[CommandLine]:
    """Provide a command line whose jobs have these variables in their environment."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        yield CommandLine(server, folder)
        assert server.stdin is not None
        server.stdin.close()
