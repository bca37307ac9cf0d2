"""Comparison of two commits: runs every seeded job and hashes its files.

    python -m benchmarks.seeded_outputs --work DIR [--checkout PATH] [--out hashes.json]
    python -m benchmarks.seeded_outputs --compare before.json after.json

The jobs are run through the command line of the checkout (this one by default), one after another,
in the same working folder each time, because a store keeps the paths of its clips. Times and
versions are removed from JSON files before they are hashed, and columns of seconds from CSV files;
files that contain times are not hashed.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CNN = "cnn-efficientnet-lite0"
SMALL_NETWORK = "differential:layers=1-1-1-1,width=16"
FRAMES = ["--head", SMALL_NETWORK, "--input", "frames", "--batch-size", "8"]

JOBS = {
    "demo": ["demo", "."],
    "frames": ["extract", "clips/labels.csv", "--store", "store", "--frames", "segments:8x5@40"],
    "validation": [
        *("train", "store", "--features", "motion", "--folds", "3", "--epochs", "6"),
        *("--validation", "0.2", "--patience", "3", "--class-weights", "balanced"),
    ],
    "sequence": [
        *("train", "store", "--features", f"{CNN}:sequence", "--epochs", "3"),
        *("--head", "temporal_transformer:layers=1", "--split", "column"),
    ],
    "fusion": [
        *("train", "store", "--features", f"{CNN},motion", "--epochs", "4"),
        *("--head", "gated_fusion", "--seed", "3"),
    ],
    "fedprox": [
        *("federate", "store", "--features", "motion", "--rounds", "4", "--folds", "2"),
        *("--strategy", "fedprox:mu=0.1", "--partition", "dirichlet:0.6", "--sample", "3"),
    ],
    "feddyn": [
        "federate",
        "store",
        "--features",
        "motion",
        "--rounds",
        "4",
        "--strategy",
        "feddyn",
    ],
    "personal": [
        *("federate", "store", "--features", "motion", "--rounds", "3"),
        *("--strategy", "personal:private=0", "--partition", "classes:3"),
    ],
    "median": [
        *("federate", "store", "--features", "motion", "--rounds", "3"),
        *("--strategy", "fedavg:aggregate=median,clip=0.5"),
    ],
    "network": [
        *("train", "store", *FRAMES, "--epochs", "3", "--validation", "0.2", "--warmup", "1"),
        *("--test-clips", "2", "--accumulate", "2"),
    ],
    "network-folds": ["train", "store", *FRAMES, "--epochs", "2", "--folds", "2"],
    "network-federated": [
        *("federate", "store", *FRAMES, "--rounds", "2", "--sample", "3"),
        *("--strategy", "personal:private=local", "--partition", "dirichlet:1"),
    ],
}
PICTURES = {
    "umap.svg": ["umap", "store", "--features", "motion"],
    "umap-run.svg": ["umap", "store", "--features", "motion", "--run", "runs/fedprox"],
    "explain.png": ["explain", "runs/network", "--video", "clips/lift/lift_000.mp4"],
}
TIMES = {"seconds", "when", "made", "versions", "clips_per_s", "frames_per_s", "stage_seconds"}
LEFT_OUT = {"umap.html", "report.html", "store/summary.json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="Working folder; emptied first.")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--out", type=Path, help="File for the hashes, as JSON.")
    parser.add_argument("--compare", nargs=2, type=Path, help="Two such files.")
    options = parser.parse_args()
    if options.compare:
        sys.exit(compare(*(json.loads(path.read_text()) for path in options.compare)))
    if options.work is None:
        parser.error("--work or --compare is needed")
    hashes = run_jobs(options.work, options.checkout.resolve())
    text = json.dumps(hashes, indent=1, sort_keys=True)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def compare(before: dict[str, str], after: dict[str, str]) -> int:
    """Print each file whose hash differs, or that only one side has; 1 if there is any."""
    differing = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    for name in differing:
        print(f"differs: {name}: {before.get(name)} -> {after.get(name)}")
    print(f"{len(before | after) - len(differing)} of {len(before | after)} files are equal")
    return int(bool(differing))


def run_jobs(work: Path, checkout: Path) -> dict[str, str]:
    """Run all jobs in an emptied folder and hash every file that they leave there."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, words in JOBS.items():
        out = [] if name in ("demo", "frames") else ["--out", f"runs/{name}"]
        kinestore([*words, *out], work, checkout)
    for name, words in PICTURES.items():
        kinestore([*words, "--out", name], work, checkout)
    paths = sorted(path for path in work.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(work)): path for path in paths}
    return {name: digest(path) for name, path in hashes.items() if name not in LEFT_OUT}


def kinestore(words: list[str], work: Path, checkout: Path) -> None:
    """Run one command with the checkout's code."""
    print("kinestore", *words, file=sys.stderr, flush=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "kinestore", *words]
    subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)


def digest(path: Path) -> str:
    """Hash a file's bytes, without the times in JSON and CSV files."""
    if path.suffix == ".json":
        content = json.dumps(without_times(json.loads(path.read_text())), sort_keys=True).encode()
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = [
                {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)
            ]
        content = json.dumps(rows).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def without_times(value: Any) -> Any:
    """The same JSON value without the keys of times and versions, at any depth."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [without_times(each) for each in value]
    return value


if __name__ == "__main__":
    main()
