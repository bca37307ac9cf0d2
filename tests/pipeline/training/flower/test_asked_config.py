"""What tells two runs of a federation apart, and what a continued run must have."""

import json
from pathlib import Path

import pytest

from kinestore.heads import TrainingConfig
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.flower.asked_config import _check_present, asked_of, identity_of
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.store import KinestoreError

JOB = FederationJob(
    head="mlp",
    strategy="fedavg",
    rounds=2,
    clients_per_round=None,
    min_clips=3,
    evaluation=EvaluationConfig(),
    training=TrainingConfig(),
    seed=0,
)


def test_two_runs_of_one_command_differ_and_a_continued_one_is_the_same(tmp_path: Path) -> None:
    first, second = (asked_of(JOB, ["north", "south"], None) for _ in range(2))
    assert identity_of(first) != identity_of(second)
    (tmp_path / "config.json").write_text(json.dumps({**first, "present_clients": ["north"]}))
    continued = asked_of(JOB, ["north", "south"], tmp_path)
    assert identity_of(continued) == identity_of(first)
    assert continued["present_clients"] == ["north"]


def test_a_continued_run_has_the_clients_that_it_began_with() -> None:
    asked: dict[str, object] = {"present_clients": ["north", "south"]}
    _check_present({}, ["west"])
    _check_present(asked, ["north", "south"])
    with pytest.raises(KinestoreError, match="clients south: take part in this run and are not"):
        _check_present(asked, ["north", "west"])
    with pytest.raises(KinestoreError, match="clients west: were not there when this run began"):
        _check_present(asked, ["north", "south", "west"])
