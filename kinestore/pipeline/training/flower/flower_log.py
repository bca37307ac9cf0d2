"""The log of what Flower says in our own process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def flower_log(path: Path) -> Iterator[None]:
    """Write what Flower says in this process to a file, and not to the terminal."""
    loggers = [logging.getLogger(name) for name in ("flwr", "kinestore.federation", "httpx")]
    before = [(list(each.handlers), each.propagate) for each in loggers]
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for each in loggers:
        each.handlers, each.propagate = [handler], False
    try:
        yield
    finally:
        for each, (handlers, propagate) in zip(loggers, before, strict=True):
            each.handlers, each.propagate = handlers, propagate
        handler.close()
