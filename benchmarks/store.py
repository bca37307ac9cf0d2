"""Speed of writing, reading and sampling embeddings: this store and other formats.

    python -m benchmarks.store [--rounds 5] [--rows 20000]

Rows of 2816 random values, float32 and float16. Each contender runs in its own process and is
timed there, in turn with the others; the first round warms up and the median of the others
counts. Writing goes to a new place after the disk has caught up; reading is from warm pages, into
an array of its own; a batch is 128 random rows, in an array of their own. Each library is used in
the way that its documentation gives for this. Only this store flushes to the disk as it writes, and
hashes what it wrote.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.formats import (
    ALIKE,
    COLUMNS,
    CONTENDERS,
    LANCE,
    MAP,
    NEEDS,
    OURS,
    PLAIN,
    Array,
    Contender,
)
from benchmarks.isolated_process import Isolated, LibraryFailed, left_out

BATCH = 128
SECONDS = 0.5
"""Seconds for which each contender reads batches in a round."""

PACKAGES = ("numpy", "h5py", "pyarrow", "pylance", "safetensors", "datasets")

BARS = (
    ("batches", MAP, 0.8),
    ("batches", LANCE, 10.0),
    ("write", PLAIN, 0.8),
    ("write", ALIKE, 0.8),
)
"""What `OURS` has to reach, as a multiple of another contender's rate."""

Found = dict[str, dict[str, float] | LibraryFailed]


@cache
def prepared(name: str, source: str) -> Any:
    return CONTENDERS[name].prepare(np.load(source))


def measure_once(name: str, source: str, folder: str) -> dict[str, float]:
    """Seconds to write and to read, the bytes written, and batches a second."""
    contender, path = CONTENDERS[name], Path(folder) / "written.npy"
    data = prepared(name, source)
    shutil.rmtree(path, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.unlink()
    os.sync()
    start = time.perf_counter()
    contender.write(path, data)
    written = time.perf_counter()
    opened = contender.open(path)
    first_open = time.perf_counter() - written
    start_of_read = time.perf_counter()
    reading = contender.open(path)
    array = contender.read(reading)
    read = time.perf_counter() - start_of_read
    check(array, source)
    return {
        "write": 1 / (written - start),
        "open": first_open,
        "read": 1 / read,
        "batches": batches_per_s(contender, opened, len(array)),
    }


def check(array: Array, source: str) -> None:
    """Check that the rows are the same: otherwise the speed means nothing."""
    expected = np.load(source, mmap_mode="r")
    if array.shape != expected.shape or not np.array_equal(
        array[:: BATCH + 1], expected[:: BATCH + 1]
    ):
        raise ValueError("what was read is not what was written")


def batches_per_s(contender: Contender, opened: Any, rows: int) -> float:
    """Rows of a batch are sorted and each there once, which h5py demands."""
    rng = np.random.default_rng(0)
    size = min(BATCH, rows)
    chosen = [np.sort(rng.choice(rows, size, replace=False)) for _ in range(200)]
    contender.take(opened, chosen[0])
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS or not done:
        contender.take(opened, chosen[done % len(chosen)])
        done += 1
    return done / elapsed


def measure(dtype: str, names: list[str], *, rows: int, rounds: int, folder: Path) -> Found:
    """The median rates of each contender, or how it failed."""
    source = folder / f"{dtype}.npy"
    values = np.random.default_rng(0).standard_normal((rows, COLUMNS), np.float32)
    np.save(source, values.astype(dtype))
    del values
    workers = {name: Isolated(measure_once, timeout_s=600) for name in names}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    failed: Found = {}
    for _ in range(1 + rounds):
        for number, name in enumerate(names):
            if name in failed:
                continue
            own = folder / f"{dtype}-{number}"
            own.mkdir(exist_ok=True)
            try:
                seen[name].append(workers[name].call(name, str(source), str(own)))
            except LibraryFailed as failure:
                failed[name] = failure
    for worker in workers.values():
        worker.close()
    return {name: failed.get(name) or medians(seen[name][1:]) for name in names}


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {what: statistics.median(once[what] for once in rounds) for what in rounds[0]}


def add_rows(table: Table, dtype: str, size_mb: float, found: Found) -> None:
    table.add_section()
    base = found.get(MAP)
    for row, (name, rates) in enumerate(found.items()):
        what = f"{dtype} ({size_mb:,.0f} MB)" if row == 0 else ""
        if isinstance(rates, LibraryFailed):
            table.add_row(what, name, "failed", *"----")
            continue
        ratio = f"{rates['batches'] / base['batches']:.3f}" if isinstance(base, dict) else "-"
        table.add_row(
            what,
            name,
            f"{rates['write'] * size_mb:,.0f}",
            f"{rates['open']:.3f}",
            f"{rates['read'] * size_mb:,.0f}",
            f"{rates['batches']:,.0f}",
            ratio,
        )


def print_bars(console: Console, dtype: str, found: Found) -> None:
    for what, other, bar in BARS:
        ours, theirs = found.get(OURS), found.get(other)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            ratio = ours[what] / theirs[what]
            verdict = "met" if ratio >= bar else "MISSED"
            console.print(f"{dtype}: {what}: {ratio:.3f} x {other} (bar {bar:g}): {verdict}")
    for name, failure in found.items():
        if isinstance(failure, LibraryFailed):
            console.print(f"{dtype}: {name} failed: {failure}", markup=False)


def versions() -> str:
    found = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="This store beside other formats.")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--rows", type=int, default=20_000, help="default 20000")
    options = parser.parse_args()
    console = Console(width=110, highlight=False)
    missing = left_out(sorted(set(NEEDS.values())))
    notes = [line.replace("install lance", "install pylance") for line in missing.values()]
    console.print(versions(), *notes, sep="\n", markup=False)
    names = [name for name in CONTENDERS if NEEDS.get(name) not in missing]
    table = Table("data", "contender", title=f"Medians of {options.rounds} rounds")
    for column in ("write MB/s", "first open s", "read MB/s", "batches/s", "to the map"):
        table.add_column(column, justify="right")
    everything = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "float16"):
            everything[dtype] = measure(
                dtype, names, rows=options.rows, rounds=options.rounds, folder=Path(folder)
            )
            size_mb = options.rows * COLUMNS * np.dtype(dtype).itemsize / 1e6
            add_rows(table, dtype, size_mb, everything[dtype])
    console.print(table)
    for dtype, found in everything.items():
        print_bars(console, dtype, found)


if __name__ == "__main__":
    main()
