"""`kinestore swarm` and `kinestore lr-scan` as a user gives them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.store import UsageError
from tests.helpers.embedded import embedded_store

HEAD = ["--features", "sequence:sequence", "--head", "temporal_rnn:units=6,dense=6"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded_store(tmp_path_factory.mktemp("stores") / "store").path


def kinestore(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_scan_then_a_swarm_that_takes_its_rates(store: Path, tmp_path: Path) -> None:
    said = kinestore("lr-scan", store, *HEAD, "--out", tmp_path / "scan")
    assert "peak" in said and "--lr-scan" in said
    scan = json.loads(kinestore("lr-scan", store, *HEAD, "--out", tmp_path / "scan", "--json"))
    run = ["swarm", store, *HEAD, "--out", tmp_path / "run", "--epochs", 2, "--dynamic", 2]
    more = ["--lr-scan", tmp_path / "scan", "--validation", 0.2, "--particles", 3, "--json"]
    summary = json.loads(kinestore(*run, *more))
    assert summary["dynamics"]["learning_rates"] == [
        scan["peak"],
        scan["peak"] / 10,
        [scan["low"], scan["high"]],
    ]
    assert summary["swarm"]["dynamic"] == "dynamic 2, code"
    assert [one["particle"] for one in summary["swarm"]["particles"]] == [1, 2, 3]


def test_the_table_has_a_row_for_each_particle_and_names_the_optimistic_column(
    store: Path, tmp_path: Path
) -> None:
    options = "--particles 2 --matrix 0,1/1,0 --learning-rates 0.1,1e-4:1e-2 --individual-epochs 1"
    said = kinestore(
        "swarm",
        store,
        *HEAD,
        "--out",
        tmp_path / "run",
        "--epochs",
        2,
        "--folds",
        2,
        "--validation",
        0.2,
        *options.split(),
    )
    assert "0.0001:0.01" in said and "chosen on validation" in said
    assert "too high as an estimate" in said
    assert "+-" in said
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["dynamics"]["matrix"] == [[0, 1], [1, 0]]


def test_repeats_give_each_particle_its_mean_deviation_and_maximum(
    store: Path, tmp_path: Path
) -> None:
    run = ["swarm", store, *HEAD, "--out", tmp_path / "runs", "--epochs", 1, "--repeats", 2]
    more = ["--validation", 0.2, "--particles", 2, "--individual", "--json"]
    found = json.loads(kinestore(*run, *more))
    runs = [json.loads((tmp_path / f"runs/repeat-{n}/summary.json").read_text()) for n in (0, 1)]
    values = [one["swarm"]["particles"][1]["last"]["mean"] for one in runs]
    spread = found["figures"]["particle_2_last"]
    assert spread["values"] == values and spread["max"] == max(values)
    assert spread["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--neighbors 4", "neighbors=4: must be from 1 to 3"),
        ("--matrix 0,1/1", "matrix: is 2 x 1/2, and must be 4 x 4"),
        ("--matrix 0,a/1,0", "matrix='0,a/1,0': 'a' is no number"),
        ("--learning-rates 1,2,3,x", "learning_rates='1,2,3,x': 'x' is no number"),
        ("--learning-rates 1,2,3,1:2:3", "learning_rates='1,2,3,1:2:3': '1:2:3' must be a rate"),
        ("--learning-rates 1,2,3,4 --lr-scan nowhere", "learning_rates='1,2,3,4': lr_scan="),
        ("--lr-scan nowhere", "has no lr_scan.json"),
        ("--optimizer adam", "optimizer='adam': particles of a swarm train by plain SGD"),
        ("--learning-rate 0.1", "learning_rate=0.1: particles of a swarm"),
        ("--schedule cosine", "schedule='cosine': particles of a swarm"),
        ("--c1 0.5", "c1=0.5: only mode='paper' of dynamic=1"),
        ("--mode papers", "mode='papers': must be paper or code or consensus"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(
    options: str, sentence: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        kinestore("swarm", store, *HEAD, "--out", tmp_path / "run", *options.split())
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["swarm", "lr-scan"])
def test_recipes_of_other_jobs_are_no_option(command: str, store: Path, tmp_path: Path) -> None:
    asked = [command, str(store), *HEAD, "--out", str(tmp_path / "run"), "--recipe", "flamest"]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 2 and "--recipe" in refused.output
