"""Every command that takes a store takes one in an object store."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from kinestore.store import Store
from tests.helpers.numbered import make_video
from tests.helpers.stored import SPEC, clip, embedding


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kinestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def answer(*arguments: str | Path) -> str:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture
def address(bucket: str) -> str:
    """A store of twelve clips in two classes."""
    there = f"{bucket}/{uuid.uuid4().hex}/store"
    store = Store.create(there)
    names = [f"clip{number}" for number in range(12)]
    store.append_clips([clip(name, label="ab"[n % 2]) for n, name in enumerate(names)])
    store.append(SPEC, names, [embedding(n % 2, n) for n in range(len(names))])
    return there


@pytest.mark.slow
def test_commands_take_an_address(address: str, tmp_path: Path) -> None:
    status = json.loads(answer("status", address, "--json"))
    assert (status["store"], status["clips"], status["views"][0]["rows"]) == (address, 12, 12)
    assert "No failures" in answer("failures", address)
    assert json.loads(answer("verify", address, "--repair", "--json"))["sound"] is True
    assert "records 2 parts" in answer("snapshot", address, "paper")
    count = answer("sql", address, "SELECT count(*) AS clips FROM vector", "--json")
    assert json.loads(count) == [{"clips": 12}]
    export = tmp_path / "x.parquet"
    assert "12 clips exported" in answer(
        "export", address, "--features", "vector", "--to", export
    ).replace("\n", " ")
    run_folder = tmp_path / "run"
    train = ["train", address, "--features", "vector", "--folds", "2", "--epochs", "2"]
    assert json.loads(answer(*train, "--out", run_folder, "--json"))["num_test"] == 12
    answer("umap", address, "--features", "vector", "--out", tmp_path / "umap.svg")
    assert (tmp_path / "umap.svg").exists()


@pytest.mark.parametrize(
    ("store", "status", "message"),
    [
        ("s3://nobody/store", 2, "s3://nobody/store/kinestore.json: there is no bucket 'nobody'"),
        ("s3://me:geheim@bucket/store", 2, "a bucket's name must follow"),
        ("ftp://host/store", 2, "ftp://: must be a local path, file://, s3://, gs://"),
    ],
)
def test_a_mistake_is_one_sentence(
    store: str, status: int, message: str, bucket: str, tmp_path: Path
) -> None:
    make_video(tmp_path / "a.mp4", 12)
    done = run("extract", tmp_path, "--store", store, "-e", "motion")
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr
    assert "geheim" not in done.stderr
