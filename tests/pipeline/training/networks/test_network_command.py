"""`kinestore train` with nets: what a person asks for, and the sentence that says what is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.store import Store, UsageError
from tests.helpers.filmed import coloured_store

NET = "differential:layers=1-1-1-1,width=16,strides="


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured_store(tmp_path_factory.mktemp("nets") / "store", num_clips=9)


def command(*arguments: object) -> str:
    """What `kinestore train` prints; its errors are raised."""
    done = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)
    return done.output


def test_every_option_reaches_the_run(store: Store, tmp_path: Path) -> None:
    asked = ["--input", "frames:segments-2x5-40", "--head", NET, "--out", tmp_path / "run"]
    asked += ["--epochs", 2, "--batch-size", 4, "--learning-rate", 0.02, "--weight-decay", 0.001]
    asked += ["--schedule", "steps:1", "--warmup", 1, "--accumulate", 2]
    asked += ["--activation-checkpointing", "--nesterov", "--classifier-lr", 5]
    asked += ["--label-smoothing", 0.1, "--clip-gradients", 5]
    asked += ["--precision", "float32", "--device", "cpu", "--size", 36, "--test-crops", 3]
    asked += ["--flip-pair", "red,green", "--seed", 4, "--json"]
    summary = json.loads(command(store.path, *asked))
    assert summary["settings"] == {
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.02,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.001,
        "schedule": "steps:1",
        "warmup": 1,
        "clip_gradients": 5.0,
        "accumulate": 2,
        "activation_checkpointing": True,
        "nesterov": True,
        "classifier_lr": 5.0,
        "freeze": None,
        "label_smoothing": 0.1,
        "standardize": "train",
        "weights": None,
        "recipe": None,
        "precision": "float32",
        "class_weights": None,
        "device": "cpu",
    }
    assert (summary["size"], summary["flip_pairs"], summary["seed"]) == (36, ["red,green"], 4)
    assert summary["test_views"] == {"clips": 1, "crops": 3}
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    # the same again is only read, and shown as a table
    shown = command(store.path, *asked[:-1], "--resume")
    assert "7 training, 2 test" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--features", "motion", "--head", "c3d"], "head='c3d': takes frames; give --input fra"),
        (["--head", "c3d"], "head='c3d': takes frames; give --input frames"),
        (
            ["--head", "c3d", "--input", "frames", "--features", "motion"],
            "head='c3d': takes frames; .* and no --features",
        ),
        (["--input", "frames"], "head='mlp': takes embeddings; give --features A.*and no --input"),
        ([], "head='mlp': takes embeddings; give --features"),
        (["--features", "motion", "--swap", "a,b"], "head='mlp': takes embeddings; leave out"),
        (
            ["--head", "c3d", "--input", "frames", "--test-crops", "2"],
            "num_crops=2: must be 1 or 3",
        ),
        (["--head", "c3d", "--input", "frames", "--epochs", "0"], "epochs=0: must be 1 or more"),
        (["--head", "nothing", "--input", "frames"], "head='nothing': must be one of c3d"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    store: Store, tmp_path: Path, arguments: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        command(store.path, "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()
