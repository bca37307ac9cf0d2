"""`ks.partition` and `kinestore partition`: clients' clips without training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kinestore as ks
from kinestore.pipeline.plotting.partition_chart import draw_partition
from kinestore.store import Store, UsageError
from tests.helpers.commands import kinestore
from tests.helpers.embedded import embedded_store
from tests.helpers.stored import clip

PARTITIONS = ["iid", "group", "dirichlet:1", "client-dirichlet:0.5", "classes", "beta-bernoulli"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return embedded_store(tmp_path_factory.mktemp("partition") / "store", num_clips=60)


@pytest.mark.parametrize("kind", PARTITIONS)
def test_clips_are_those_that_a_federated_run_would_divide(store: Store, kind: str) -> None:
    found = ks.partition(store, partition=kind, num_clients=3, seed=4)
    assert (found.num_used + found.num_unused, found.num_unlabeled) == (60, 0)
    assert found.sizes == [len(clips) for clips in found.clips]
    names = [name for clips in found.clips for name in clips]
    assert len(set(names)) == len(names) == found.num_used
    rows = store.load("vector")
    label = dict(zip(rows.clip_ids, rows.labels.tolist(), strict=True))
    for clips, counts, num_classes in zip(
        found.clips, found.counts, found.num_classes, strict=True
    ):
        own = [label[name] for name in clips]
        assert np.bincount(own, minlength=3).tolist() == counts.tolist()
        assert len(set(own)) == num_classes


def test_the_partition_is_that_of_a_run_with_folds(store: Store, tmp_path: Path) -> None:
    # with folds the saved model is trained on all clips, and so is their partition
    asked = ks.FederationConfig(partition="client-dirichlet:5", num_clients=3, rounds=1)
    summary = ks.federate(
        store.load("vector"),
        out=tmp_path / "run",
        head="mlp:hidden=4",
        federation=asked,
        evaluation=ks.EvaluationConfig(folds=2),
        training=ks.TrainingConfig(epochs=1),
        seed=4,
    )
    found = ks.partition(store, partition="client-dirichlet:5", num_clients=3, seed=4)
    assert summary.federation is not None
    assert found.num_unused > 0
    assert summary.federation.client_sizes == found.sizes
    assert summary.federation.client_num_classes == found.num_classes
    assert summary.federation.num_unused == found.num_unused == summary.num_left_out


def test_clips_without_a_label_and_those_of_other_splits_are_left_out(tmp_path: Path) -> None:
    opened = Store.create(tmp_path / "store")
    split = ["train", "train", "test", None]
    opened.append_clips(
        [clip(f"{n:032x}", label="ab"[n % 2], split=split[n // 2 % 4]) for n in range(40)]
    )
    opened.append_clips([clip(f"{n:032x}") for n in range(40, 43)])
    everything = ks.partition(opened, num_clients=2)
    trained = ks.partition(opened, num_clients=2, split="column")
    assert (everything.num_used, everything.num_unlabeled) == (40, 3)
    assert (trained.num_used, trained.num_unused) == (20, 0)


def test_the_command_prints_sizes_and_draws(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "drawn" / "p.png"
    asked: list[Any] = ["partition", store.path, "--partition", "client-dirichlet:0.5"]
    asked += ["--clients", "3", "--seed", "4"]
    shown = kinestore(*asked, "--out", out)
    found = json.loads(kinestore(*asked, "--json"))
    assert (
        found
        == ks.partition(store, partition="client-dirichlet:0.5", num_clients=3, seed=4).to_json()
    )
    assert "clips that no client has" in shown and f"Written to {out}" in shown
    for client, size in enumerate(found["client_sizes"]):
        assert any(f"client {client}" in line and f" {size} " in line for line in shown.split("\n"))
    with Image.open(out) as picture:
        assert picture.width > 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "dirichlet"}, "partition='dirichlet': must be one of iid, group, dirichlet"),
        ({"num_clients": 0}, "num_clients=0: must be from 1 to 60"),
        ({"num_clients": 61}, "num_clients=61: must be from 1 to 60"),
        ({"partition": "client-dirichlet:0"}, "alpha=0.0: must be from 1e-09"),
        ({"split": "column"}, "split"),
        ({"out": "p.gif"}, "out=p.gif: the suffix must be one of .png, .pdf, .svg"),
    ],
)
def test_what_cannot_be_divided_is_refused_by_name(
    store: Store, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ks.partition(store, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(("num_clients", "num_classes"), [(20, 101), (50, 51), (4, 6)])
def test_a_picture_has_room_for_every_name_and_number(
    tmp_path: Path, num_clients: int, num_classes: int
) -> None:
    counts = np.random.default_rng(0).integers(0, 94, size=(num_clients, num_classes))
    out = tmp_path / "p.png"
    draw_partition(out, counts, classes=[f"ApplyEyeMakeup {n}" for n in range(num_classes)])
    with Image.open(out) as picture:  # 150 pixels an inch, 0.27 inches a cell
        assert picture.width > 40 * num_classes
        assert picture.height > 40 * num_clients
