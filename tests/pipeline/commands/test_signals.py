"""How a command ends after Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.stored import filled

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


COMMANDS = {
    "umap": ["umap", "{store}", "--features", "motion", "--out", "{store}.png"],
    "train": ["train", "{store}", "--features", "motion", "--out", "{store}-run"],
    "status": ["status", "{store}"],
    "verify": ["verify", "{store}"],
    "extract": ["extract", "{store}", "--store", "{store}-new", "-e", "motion"],
    "report": ["report", "{store}-run"],
}


def interrupted(command: list[str], delay_s: float) -> "subprocess.CompletedProcess[str]":
    """The outcome of a command that gets Ctrl-C a while after its first lines have run."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinestore", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "fcntl.cpython" not in maps.read_text():
        time.sleep(0.001)  # until then it is Python that starts
    time.sleep(0.02 + delay_s)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def is_one_sentence(ended: "subprocess.CompletedProcess[str]") -> bool:
    lines = ended.stderr.splitlines()
    return len(lines) == 1 and lines[0].startswith("kinestore: ")


@pytest.mark.parametrize("delay_s", [0.0, 0.2])
def test_an_interrupt_while_libraries_are_imported_is_one_sentence(delay_s: float) -> None:
    ended = interrupted(["train", "no-store", "--features", "motion"], delay_s)
    assert is_one_sentence(ended), ended.stderr
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "kinestore: stopped; run the same command again to resume\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_at_any_moment_of_a_command_is_one_sentence(name: str, tmp_path: Path) -> None:
    filled(str(tmp_path / "store"))
    command = [argument.format(store=tmp_path / "store") for argument in COMMANDS[name]]
    for delay_s in (0.05, 0.3, 0.7, 1.5, 3.0):
        ended = interrupted(command, delay_s)
        if "stopped" in ended.stderr or ended.returncode < 0 or "Traceback" in ended.stderr:
            assert is_one_sentence(ended) and ended.returncode == 1, (delay_s, ended.stderr)


def test_an_interrupt_that_python_would_not_raise_ends_the_command() -> None:
    script = """
import os, signal
from kinestore.pipeline.signals import answer_interrupts
answer_interrupts()
class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
Callback()
print("went on")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert is_one_sentence(ended)


def test_a_command_that_ignores_interrupts_in_the_background_goes_on() -> None:
    script = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from kinestore.pipeline.signals import answer_interrupts
answer_interrupts()
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")
