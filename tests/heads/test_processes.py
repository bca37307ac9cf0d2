"""Several processes, as torchrun starts them, train the net that one process trains."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.filmed import coloured_store
from tests.helpers.paths import ROOT
from tests.helpers.trained import metrics

TRAIN = ["train", "--head", "c3d:dropout=0", "--input", "frames", "--device", "cpu", "--size", "16"]
TRAIN += ["--epochs", "2", "--batch-size", "10", "--schedule", "constant", "--json"]

CHECKPOINT_EACH_EPOCH = """
from kinestore.pipeline.training import fold_trainer
from kinestore.__main__ import main
fold_trainer.CHECKPOINT_SECONDS = 0.0
main()
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    # 11 fitted clips by 10: steps are dealt as 5 + 5, each in passes of 3 + 2, and as 1 + none
    store = coloured_store(tmp_path / "store", num_clips=14, frames="segments:4x1@16")
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run("kinestore", *TRAIN, store.path, "--out", one)
    assert alone.returncode == 0, alone.stderr
    torchrun = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "kinestore")
    both = run(*torchrun, *TRAIN, store.path, "--accumulate", "2", "--out", two)
    assert both.returncode == 0, both.stderr
    summary = json.loads(both.stdout)  # one process speaks
    assert summary["processes"] == 2 and {path.name for path in two.iterdir()} == {
        path.name for path in one.iterdir()
    }
    first, second = (load_file(out / "model.safetensors") for out in (one, two))
    start = json.loads(alone.stdout)
    assert summary["top1"] == start["top1"]
    for name in first:
        # float32 sums in another order, over 4 steps
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)
    for a, b in zip(metrics(one), metrics(two), strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-5)
        assert a["train_accuracy"] == b["train_accuracy"]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=14, frames="segments:4x1@16")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    job = [*TRAIN, str(store.path), "--epochs", "6", "--folds", "2"]
    command = [sys.executable, "-c", CHECKPOINT_EACH_EPOCH, *job, "--out", str(killed)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while not (killed / "checkpoint-1.safetensors").exists():  # in the second fold
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (killed / "summary.json").exists()
    for out, more in ((killed, ["--resume"]), (whole, [])):
        done = run("kinestore", *job, "--out", out, *more)
        assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "metrics.csv", "predictions.parquet"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
