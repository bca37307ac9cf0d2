"""A run of an earlier version is read and resumed, though its files name some entries otherwise."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinestore.heads import TrainingConfig
from kinestore.pipeline.report import report
from kinestore.pipeline.runs.earlier_names import with_current_names
from kinestore.pipeline.runs.reader import read_config
from tests.helpers.jobs import federate
from tests.helpers.reported import without_pictures
from tests.helpers.trained import clips

EARLIER = {
    "num_rejected_updates": "refused",
    "rejected_updates": "refusals",
    "clients_per_round": "sample",
    "activation_checkpointing": "recompute",
}


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


def with_earlier_names(values: Any) -> Any:
    """Return a JSON object with the names of an earlier version, at any depth."""
    if not isinstance(values, dict):
        return values
    return {EARLIER.get(key, key): with_earlier_names(value) for key, value in values.items()}


def test_a_run_with_the_earlier_names_is_read_reported_and_not_trained_again(
    tmp_path: Path,
) -> None:
    run, settings = tmp_path / "run", TrainingConfig(epochs=1, batch_size=16)
    asked: dict[str, Any] = {"clients_per_round": 2, "rounds": 1, "settings": settings}
    summary = federate(clips(), out=run, **asked)
    config = read_config(run)
    page = report(run, out=tmp_path / "a.html").path.read_bytes()
    for name in ("config.json", "summary.json"):
        values = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(with_earlier_names(values)))
    assert '"sample": 2' in (run / "config.json").read_text()
    assert read_config(run) == config
    assert report(run, out=tmp_path / "b.html").path.read_bytes() == page
    assert federate(clips(), out=run, resume=True, **asked) == summary


def test_the_names_of_networks_are_read_too() -> None:
    earlier: dict[str, object] = {
        "looks": {"clips": 2, "crops": 3},
        "swaps": ["a,b"],
        "settings": {"recompute": True},
        "weights": "old.pth",
    }
    assert with_current_names(earlier) == {
        "test_views": {"clips": 2, "crops": 3},
        "flip_pairs": ["a,b"],
        "settings": {
            "activation_checkpointing": True,
            "nesterov": False,
            "classifier_lr": 1.0,
            "freeze": None,
            "label_smoothing": 0.0,
            "standardize": "train",
            "weights": "old.pth",
            "recipe": None,
        },
    }
