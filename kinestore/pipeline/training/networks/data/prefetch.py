"""Clips that are read ahead by threads, while the net computes.

Threads, not processes: PyAV, OpenCV and memory copies leave Python's lock, so that a clip is handed
over without a copy and nothing is imported twice. Torch computes on one core in each of them, which
changes nothing for the net.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    load: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """What `load` gives for each item, in their order; an error comes up at its item.

    Args:
        load: Called in threads.
        items: What to load.
        workers: Threads, 1 or more. Twice as many items are under way or wait to be taken: that
            bounds the memory.
    """
    waiting: deque[Future[Result]] = deque()
    rest = iter(items)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in itertools.islice(rest, 2 * workers):
                waiting.append(pool.submit(load, item))
            while waiting:
                yield waiting.popleft().result()
                for item in itertools.islice(rest, 1):
                    waiting.append(pool.submit(load, item))
        finally:
            for future in waiting:
                future.cancel()
