"""Seeds that depend only on their purpose, not on what ran before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kinestore.store import UsageError


def derive_seed(purpose: str, seed: int, *parts: int) -> int:
    """Return a seed for one purpose, such as one client's round; 63 bits, never negative.

    Args:
        purpose: Use of the random numbers; different purposes have independent streams.
        seed: The user's seed, 0 or more.
        parts: Other values that it depends on, such as the round and the client.
    """
    text = "/".join([purpose, str(check_seed(seed)), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def check_seed(seed: int) -> int:
    """Return the seed; raise UsageError if it is negative or too large."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed}: must be from 0 to 2**63 - 1")
    return seed


@contextmanager
def private_rng(seed: int) -> Iterator[None]:
    """Seed the global CPU generator (initial weights, dropout), and restore it afterwards.

    `torch.manual_seed` would also seed every accelerator, which `fork_rng` then has to visit.
    """
    check_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
