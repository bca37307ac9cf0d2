"""A process that trains keeps the memory that it frees, and soon needs no more."""

import json
import subprocess
import sys

import pytest

STEPS = """
import json, resource
import psutil
import torch
from kinestore.pipeline.training.networks.malloc import keep_freed_memory

kept = keep_freed_memory()

def steps(count):
    for _ in range(count):
        tensors = [torch.ones(megabytes << 18) for megabytes in (40, 90, 25, 60)]
        del tensors

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

steps(12)
before, held = faults(), psutil.Process().memory_info().rss
steps(20)
print(json.dumps([kept, faults() - before, psutil.Process().memory_info().rss - held]))
"""


def test_freed_memory_is_used_again_and_does_not_grow() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    kept, faults, grown = json.loads(done.stdout)
    if not kept:
        pytest.skip("not glibc")
    assert faults < 5_000  # a step's tensors have 55,000 pages
    assert grown < 16 << 20
