"""When Ctrl-C may come, and how a command ends after it."""

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
    """Have Ctrl-C wait for the end of the block; threads and processes begun in it never get it.

    A terminal sends Ctrl-C to every process of a job, and half-made things cannot be cleared away.
    """
    resource_tracker.ensure_running()  # it would let Ctrl-C in again, were it begun in the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_now(sentence: str) -> NoReturn:
    """End an interrupted process with status 1, once it has cleared away and said the sentence.

    Python's own ending is no good then: Ctrl-C inside an `exec`, as dataclasses run when they are
    made, has it end as if killed although the interrupt was handled; and a library's thread that
    is still in C++ can abort it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(sentence, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
