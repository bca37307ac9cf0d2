"""Commands as a user gives them, in a process of their own."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT


def kinestore(*arguments: str | Path, status: int = 0) -> str:
    """Run a command, check its exit status, and return what it printed, errors too."""
    command = [sys.executable, "-m", "kinestore", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr
