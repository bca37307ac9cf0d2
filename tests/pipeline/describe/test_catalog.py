"""The lists of heads, strategies and extractors have every name, setting and default."""

import json

import pytest
from typer.testing import CliRunner

from kinestore import extractors, federated, heads
from kinestore.__main__ import app
from kinestore.pipeline.describe.catalog import ENTRY_KINDS, NOTHING, catalog, catalog_entry
from kinestore.pipeline.training.model_spec import FROM_THE_CLIPS, read_head, read_strategy
from kinestore.store import UsageError

NAMES = {"head": heads.names(), "strategy": federated.names(), "extractor": extractors.names()}


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_each_name_is_listed_with_a_sentence(kind: str) -> None:
    found = catalog(kind)
    assert [one.name for one in found] == NAMES[kind]
    assert all(len(one.summary) > 10 for one in found)


@pytest.mark.parametrize("kind", ["head", "strategy"])
def test_each_default_can_be_written_as_it_is_listed(kind: str) -> None:
    for one in catalog(kind):
        for setting in one.settings:
            assert setting.name not in FROM_THE_CLIPS
            if kind == "head" and setting.default not in ("", NOTHING):
                read_head(f"{one.name}:{setting.name}={setting.default}")
        written = ",".join(f"{s.name}={s.default}" for s in one.settings if s.default != NOTHING)
        if kind == "strategy" and one.name != "personal":  # which needs one of two
            read_strategy(f"{one.name}:{written}")


def test_one_entry_has_meanings_and_a_size() -> None:
    entry = catalog_entry("head", "mlp", with_cost=True)
    (hidden,) = entry.settings
    assert (hidden.name, hidden.default) == ("hidden", "512-256")
    assert hidden.meaning.startswith("Width of each hidden layer")
    # 2048 x 512 + 512 + 512 x 256 + 256 + 256 x 101 + 101 parameters
    assert entry.cost is not None and entry.cost.parameters == 1_206_373
    assert catalog_entry("strategy", "fedprox").settings[0].default == "0.01"


@pytest.mark.parametrize("name", [name for name in heads.names() if not heads.takes_frames(name)])
def test_the_size_of_each_head_on_embeddings_is_counted(name: str) -> None:
    cost = catalog_entry("head", name, with_cost=True).cost
    assert cost is not None and cost.parameters > 0


@pytest.mark.parametrize(
    ("command", "name"), [("heads", "mlp"), ("strategies", "feddyn"), ("extractors", "motion")]
)
def test_the_commands_print_a_table_or_json(command: str, name: str) -> None:
    listed = CliRunner().invoke(app, [command], catch_exceptions=False).stdout
    assert name in listed
    one = CliRunner().invoke(app, [command, name, "--json"], catch_exceptions=False).stdout
    assert json.loads(one)["name"] == name
    assert f"write {name}:SETTING=VALUE" in CliRunner().invoke(app, [command, name]).stdout
    with pytest.raises(UsageError, match="must be one of"):
        CliRunner().invoke(app, [command, "nothing"], catch_exceptions=False)
