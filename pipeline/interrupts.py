"""When Ctrl-C may come."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


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
