"""Handling of Ctrl-C: delaying it, and ending a command after it."""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import NoReturn


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block; threads and processes started in it never receive it.

    A terminal sends Ctrl-C to every process of a job, and half-made objects cannot be cleaned up.
    """
    resource_tracker.ensure_running()  # started inside the block, it would unblock Ctrl-C
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
    print(sentence, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
