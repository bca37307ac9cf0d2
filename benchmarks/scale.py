"""A store of 200,000 clips with two views, generated and not extracted: speed of everyday work.

    python -m benchmarks.scale [--clips 200000] [--store DIR]

Shards of the size that an extraction of so many clips makes are appended, with vectors of 768 and
2048 values. Each step runs in its own process, which reports its time and its peak memory.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.memory import peak_mib
from kinestore.pipeline.extraction.planning import shard_size
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Clip, Source, Store, ViewSpec
from kinestore.store.status import status
from tests.helpers.stored import INFO

VIEWS = [
    ViewSpec(extractor="blip", shape=(768,), settings={"made": True}),
    ViewSpec(extractor="slow", shape=(2048,), settings={"made": True}),
]


def make_clip(number: int) -> Clip:
    source = Source(
        uri=f"/videos/{number % 101:03d}/v_{number:07d}.avi",
        label=f"class {number % 101}",
        group=f"g{number % 25:02d}",
        split="train" if number % 5 else "test",
    )
    clip_id = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return Clip(clip_id=clip_id, source=source, info=INFO)


def append(path: Path, num_clips: int) -> float:
    """Seconds in the store; making the vectors is not counted."""
    store, size = Store.create(path), shard_size(num_clips)
    rng, seconds = np.random.default_rng(0), 0.0
    for begin in range(0, num_clips, size):
        clips = [make_clip(number) for number in range(begin, min(begin + size, num_clips))]
        made = [rng.standard_normal((len(clips), *view.shape), np.float32) for view in VIEWS]
        started = time.perf_counter()
        store.append_clips(clips)
        for view, vectors in zip(VIEWS, made, strict=True):
            store.append(view, [clip.clip_id for clip in clips], vectors)
        seconds += time.perf_counter() - started
    return seconds


def load(path: Path, num_clips: int) -> float:
    """Seconds until the first row of each hundred was seen."""
    started = time.perf_counter()
    loaded = Store(path).load(["blip", "slow"])
    assert loaded.features.shape == (num_clips, 2816)
    loaded.features[::100].sum()
    return time.perf_counter() - started


def tell_status(path: Path, num_clips: int) -> float:
    started = time.perf_counter()
    assert status(path).num_clips == num_clips
    return time.perf_counter() - started


def check(path: Path, num_clips: int) -> float:
    started = time.perf_counter()
    assert verify(path).findings == ()
    return time.perf_counter() - started


def measured(
    step: Callable[[Path, int], float], path: Path, num_clips: int
) -> tuple[float, int, int]:
    """Return seconds, and the peak and first memory in MiB."""
    before = peak_mib()
    return step(path, num_clips), peak_mib(), before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200_000)
    parser.add_argument("--store", type=Path, help="where to make it; temporary by default")
    args = parser.parse_args()
    data_mib = args.clips * 2816 * 4 / 2**20
    print(f"{args.clips} clips, {data_mib:.0f} MiB of vectors")
    steps: list[tuple[str, Callable[[Path, int], float]]] = [
        ("append", append),
        ("verify", check),
        ("load two views, joined", load),
        ("load them again", load),
        ("status", tell_status),
    ]
    with tempfile.TemporaryDirectory(dir=args.store) as folder:
        total = 0.0
        for name, step in steps:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                store = Path(folder) / "store"
                seconds, peak, before = alone.submit(measured, step, store, args.clips).result()
            total += seconds
            print(
                f"{name:24} {seconds:7.1f} s   peak {peak:6} MiB, {before} of it before the step "
                f"({(peak - before) / data_mib:.2f} of the data)",
                flush=True,
            )
        print(f"bar: all of it under 60 s: {total:.1f} s; memory at most 2.0 of the data")


if __name__ == "__main__":
    main()
