"""How a command ends after Ctrl-C."""

import subprocess
import sys

from tests.helpers.paths import ROOT

CAUGHT_IN_EXEC = """
import os, signal
from kinestore.pipeline.signals import end_now
try:
    exec("os.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass")
except KeyboardInterrupt:
    {ending}
"""


def run(ending: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", CAUGHT_IN_EXEC.format(ending=ending)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_interrupt_inside_an_exec_ends_with_the_sentence_and_status_1() -> None:
    ended = run("end_now('kinestore: stopped')")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "kinestore: stopped\n")


def test_what_is_to_be_done_at_exit_is_done() -> None:
    ended = run("import atexit; atexit.register(print, 'cleared'); end_now('stopped')")
    assert (ended.returncode, ended.stdout) == (1, "cleared\n")
