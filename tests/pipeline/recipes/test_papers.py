"""Recipes of papers: what they set, and that an option beside them wins."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.federated import names as strategies
from kinestore.heads import TrainingConfig
from kinestore.pipeline.recipes.papers import RECIPES, find_recipe
from kinestore.pipeline.training.config import FederationConfig
from kinestore.pipeline.training.model_spec import read_head, read_strategy
from kinestore.store import Store, UsageError
from tests.helpers.embedded import embedded_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return embedded_store(tmp_path_factory.mktemp("embedded") / "store")


def command(job: str, store: Store, out: Path, *more: object) -> dict[str, Any]:
    asked = [job, store.path, "--features", "vector", "--out", out, "--json", *more]
    done = CliRunner().invoke(app, list(map(str, asked)), catch_exceptions=False)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_can_be_read_by_the_jobs_that_it_is_for(name: str) -> None:
    recipe = find_recipe(name)
    for job, settings in {"train": recipe.train, "federate": recipe.clients}.items():
        if settings is None:
            with pytest.raises(UsageError, match=f"has none for `kinestore {job}`; use"):
                recipe.training_of(job)
        else:
            TrainingConfig(**recipe.training_of(job))  # type: ignore[arg-type]
    federation = FederationConfig(**recipe.federation)  # type: ignore[arg-type]
    assert read_strategy(federation.strategy)
    assert federation.strategy.partition(":")[0] in strategies()
    assert read_head(recipe.head).name == recipe.head.partition(":")[0]


def test_flamest_federates_as_its_paper_prints(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="kinestore"):
        summary = command("federate", store, tmp_path / "run", "--recipe", "flamest")
    settings = summary["settings"]
    wanted = {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 1e-4, "batch_size": 128}
    wanted |= {"epochs": 5, "standardize": "none", "clip_gradients": None, "schedule": "constant"}
    assert {key: settings[key] for key in wanted} == wanted
    assert settings["recipe"] == "flamest"
    assert (summary["head"], summary["strategy"]) == ("mlp:hidden=512-256", "fedavg")
    assert (summary["clients"], summary["rounds"], summary["clients_per_round"]) == (4, 80, None)
    (said,) = caplog.messages
    assert said.startswith("kinestore: recipe flamest (FLAMeST, TMLR submission 5468")
    for part in ("learning_rate=0.01", "standardize=none", "rounds=80", "local_epochs=5"):
        assert part in said


def test_an_option_beside_a_recipe_wins_and_is_said(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = ("--rounds", 2, "--learning-rate", 0.003, "--clients", 3, "--head", "mlp:hidden=8")
    with caplog.at_level(logging.WARNING, logger="kinestore"):
        summary = command("federate", store, tmp_path / "run", "--recipe", "flamest", *more)
    beside = "clients=3, head=mlp:hidden=8, learning_rate=0.003, rounds=2"
    assert summary["settings"]["recipe"] == f"flamest, but {beside}"
    assert (summary["rounds"], summary["clients"]) == (2, 3)
    assert summary["settings"]["learning_rate"] == 0.003
    was = "clients=4, head=mlp:hidden=512-256, learning_rate=0.01, rounds=80"
    assert f"kinestore: recipe flamest: given instead of {was}: {beside}" in caplog.messages


def test_a_run_of_a_recipe_is_continued_to_more_rounds(store: Store, tmp_path: Path) -> None:
    more = ("--recipe", "flamest")
    command("federate", store, tmp_path / "run", *more, "--rounds", 1)
    summary = command("federate", store, tmp_path / "run", *more, "--rounds", 2, "--resume")
    assert summary["settings"]["recipe"] == "flamest, but rounds=2"


def test_a_default_that_is_given_wins_too(store: Store, tmp_path: Path) -> None:
    more = ("--recipe", "flamest", "--epochs", 1, "--standardize", "train", "--head", "mlp")
    summary = command("train", store, tmp_path / "run", *more)
    assert summary["head"] == "mlp" and summary["settings"]["standardize"] == "train"


@pytest.mark.parametrize(
    ("job", "name", "said"),
    [
        ("train", "fedavg", "recipe='fedavg': must be one of flamest, "),
        ("federate", "c3d", "has none for `kinestore federate`; use `kinestore train`"),
        ("train", "stc", "head='correlation': takes frames; give --input frames"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_sentence(
    store: Store, tmp_path: Path, job: str, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        command(job, store, tmp_path / "run", "--recipe", name)
