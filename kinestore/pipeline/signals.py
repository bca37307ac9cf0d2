"""Handling of Ctrl-C: delaying it, and ending a command after it."""

import atexit
import contextlib
import fcntl
import os
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

STOPPED = "kinestore: stopped; run the same command again to resume"
"""Sentence with which Ctrl-C ends a command."""


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block; threads and processes started in it never receive it.

    A terminal sends Ctrl-C to every process of a job, and half-made objects cannot be cleaned up.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_now(sentence: str) -> NoReturn:
    """Print a sentence, run the exit functions, and end an interrupted process with status 1.

    Python's own exit fails then: after Ctrl-C inside an `exec`, as dataclasses run when they are
    defined, it ends as if killed although the interrupt was handled; and a library's thread that
    is still in C++ can abort it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):  # its reader may have closed it
        print(sentence, file=sys.stderr, flush=True)
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(1)


def answer_interrupts() -> None:
    """Have Ctrl-C end this command in one sentence, also while libraries are being imported.

    Half-imported libraries answer KeyboardInterrupt in many ways: then the process ends at once,
    and otherwise as Python has it. Nothing is changed where Ctrl-C is ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _end_if_interrupted


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            end_now(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _end_if_interrupted(raised: "sys.UnraisableHookArgs") -> None:
    """End after Ctrl-C in a callback, where Python would print a traceback and go on."""
    if isinstance(raised.exc_value, KeyboardInterrupt):
        end_now(STOPPED)
    sys.__unraisablehook__(raised)


def end_with_parent() -> None:
    """Have the kernel end this process when the other end of its standard input is closed.

    The end of the parent process closes it, however it ends. No thread has to run for this: the
    main thread may hang in a decoder that keeps Python's lock.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)  # sends SIGIO
    if select.select([0], [], [], 0)[0]:  # it was closed before
        os._exit(0)
