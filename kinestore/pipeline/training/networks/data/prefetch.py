"""Read clips ahead in threads, while the network computes.

Threads, not processes: PyAV, OpenCV and memory copies leave Python's lock, so that a clip is handed
over without a copy and nothing is imported twice. Torch computes on one core in each of them, which
changes nothing for the network.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Loaded = TypeVar("_Loaded")


def prefetch(
    load: Callable[[_Item], _Loaded], items: Iterable[_Item], *, num_workers: int
) -> Iterator[_Loaded]:
    """Yield the result of `load` for each item, in order; an error is raised at its item.

    Args:
        load: Called in threads.
        items: What to load.
        num_workers: Threads, 1 or more. Twice as many items are under way or wait to be taken: that
            bounds the memory.
    """
    waiting: deque[Future[_Loaded]] = deque()
    rest = iter(items)
    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in itertools.islice(rest, 2 * num_workers):
                waiting.append(pool.submit(load, item))
            while waiting:
                yield waiting.popleft().result()
                for item in itertools.islice(rest, 1):
                    waiting.append(pool.submit(load, item))
        finally:
            for future in waiting:
                future.cancel()
