"""The federated job."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kinestore.federated import standardization
from kinestore.heads import TrainingConfig
from kinestore.heads.support.standardizer import Moments, combine
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.store import Features, KinestoreError, UsageError
from tests.helpers.broken_client import break_client
from tests.helpers.jobs import federate, watch
from tests.helpers.trained import described, metrics, three_classes

SHORT = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, weight_decay=1e-4)
NUM_PARAMETERS = 10 * 512 + 512 + 512 * 256 + 256 + 256 * 3 + 3


def clips(seed: int = 0, num_rows: int = 60, **changes: Any) -> Features:
    """Three classes in four groups; each group sees the world shifted in its own way."""
    features, labels = three_classes(seed, num_rows)
    features[:, 3:7] += 2 * np.eye(4, dtype=np.float32)[np.arange(num_rows) // 3 % 4]
    return described(**{"features": features, "labels": labels, **changes})


@pytest.mark.parametrize("partition", ["iid", "group"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clients_learn_together(tmp_path: Path, partition: str, seed: int) -> None:
    summary = federate(
        clips(seed), out=tmp_path, partition=partition, rounds=10, settings=SHORT, seed=seed
    )
    assert summary["top1"] >= 0.8  # 12 clips, chance is 1/3
    assert summary["client_sizes"] == [12, 12, 12, 12] or partition == "group"


@pytest.mark.parametrize(
    "partition",
    ["dirichlet:0.6", "client-dirichlet:0.5", "classes:2", "beta-bernoulli", "beta-bernoulli:1,3"],
)
def test_clips_are_assigned_as_asked_and_the_partition_is_drawn(
    tmp_path: Path, partition: str
) -> None:
    asked = {"clients": 3, "rounds": 1, "settings": SHORT}
    summary = federate(clips(), out=tmp_path, partition=partition, **asked)
    assert sum(summary["client_sizes"]) == summary["num_train"]
    parts = ("num_train", "num_test", "num_left_out")
    assert sum(summary[name] for name in parts) == 60
    assert summary["num_left_out"] == summary["num_unused"]
    assert (summary["num_unused"] > 0) == partition.startswith(("beta", "client-dirichlet"))
    assert (tmp_path / "partition.png").stat().st_size > 5000


@pytest.mark.parametrize("partition", ["iid:1", "dirichlet", "classes:1.5", "dirichlet:a", ""])
def test_a_partition_that_cannot_be_read_is_told(tmp_path: Path, partition: str) -> None:
    with pytest.raises(UsageError, match=f"partition='{partition}': must be one of iid, group, d"):
        federate(clips(), out=tmp_path / "run", partition=partition)


def test_summary_adds_up_what_metrics_hold(tmp_path: Path) -> None:
    ticks: list[tuple[int, int, str]] = []
    summary = federate(
        clips(),
        out=tmp_path,
        clients=5,
        clients_per_round=2,
        rounds=3,
        settings=SHORT,
        progress=watch(ticks),
    )
    rows = metrics(tmp_path)
    assert [row["round"] for row in rows] == ["1", "2", "3"]
    assert {row["clients"] for row in rows} == {"2"}
    assert summary["parameters_up"] == sum(int(row["parameters_up"]) for row in rows)
    assert summary["parameters_up"] == summary["parameters_down"] == 3 * 2 * NUM_PARAMETERS
    # moments: a count and two float64 a column from each of five clients, two of those back
    assert summary["standardise_bytes_up"] == 5 * (8 + 16 * 10)
    assert summary["standardise_bytes_down"] == 5 * 16 * 10
    assert summary["bytes_up"] == 4 * summary["parameters_up"] + 5 * 168
    assert summary["bytes_down"] == 4 * summary["parameters_down"] + 5 * 160
    assert summary["top1"] == float(rows[-1]["accuracy"])
    assert (summary["clients"], summary["rounds"], summary["clients_per_round"]) == (5, 3, 2)
    assert (summary["strategy"], summary["partition"]) == ("fedavg", "iid")
    assert (summary["num_rejected_updates"], summary["rejected_updates"]) == (0, [])
    assert sum(summary["client_sizes"]) == summary["num_train"] == 48
    assert [tick[:2] for tick in ticks] == [(1, 3), (2, 3), (3, 3)]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert json.loads((tmp_path / "config.json").read_text())["job"] == "federate"
    pictures = ["clients.png", "confusion.png", "curves.png", "partition.png"]
    others = [
        "client_metrics.csv",
        "state-0.safetensors",
        "communication.json",
        "config.json",
        "metrics.csv",
        "model.safetensors",
    ]
    others += ["client_partition.parquet", "predictions.parquet", "summary.json"]
    others += ["training_clips.parquet"]
    assert {path.name for path in tmp_path.iterdir()} == {*pictures, *others}


def test_communication_adds_up_by_round_by_client_and_in_all(tmp_path: Path) -> None:
    federate(clips(), out=tmp_path, clients=5, clients_per_round=2, rounds=4, settings=SHORT)
    sent = json.loads((tmp_path / "communication.json").read_text())
    for name in ("parameters_up", "parameters_down", "bytes_up", "bytes_down"):
        assert sum(row[name] for row in sent["rounds"]) == sent["run"][name]
        assert sum(row[name] for row in sent["clients"]) == sent["run"][name]
    assert sent["run"]["parameters_up"] == 4 * 2 * NUM_PARAMETERS
    assert sum(row["rounds"] for row in sent["clients"]) == 4 * 2
    taken = [client for row in sent["rounds"] for client in row["clients"]]
    assert all(row["rounds"] == taken.count(row["client"]) for row in sent["clients"])
    assert sent["shared_parameters"] == sent["head_parameters"] == NUM_PARAMETERS


def test_top5_of_clients_adds_up_to_that_of_all(tmp_path: Path) -> None:
    labels = np.arange(80) % 8
    features = np.random.default_rng(0).normal(size=(80, 10)).astype(np.float32)
    told = clips(features=features, labels=labels, num_rows=80, classes=list("abcdefgh"))
    asked: dict[str, Any] = {"clients": 3, "rounds": 1, "settings": SHORT, "folds": 2}
    summary = federate(told, out=tmp_path, partition="dirichlet:0.5", **asked)
    owners = read_predictions(tmp_path).clients
    each = summary["client_top5"]
    assert 0 < summary["top5"] < 1
    assert sum(each[owner] for owner in owners) / 80 == pytest.approx(summary["top5"])
    assert np.mean(each) == pytest.approx(summary["mean_client_top5"])
    assert all(one <= five for one, five in zip(summary["client_top1"], each, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clients_with_a_head_of_their_own_learn_what_a_common_one_cannot(
    tmp_path: Path, seed: int
) -> None:
    # each group has its own names for the classes, and no feature tells the group
    features = clips(seed)
    features.features[:, 3:7] = 0
    shift = np.array([int(str(group)[-1]) % 3 for group in features.groups])
    features = dataclasses.replace(features, labels=(features.labels + shift) % 3)
    quick = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-2, weight_decay=1e-4)
    asked: dict[str, Any] = {"partition": "group", "rounds": 10, "settings": quick, "seed": seed}
    asked |= {"clients": 4, "folds": 3, "head": "mlp:hidden=32"}
    own = federate(features, out=tmp_path / "own", strategy="personal:private=2", **asked)
    one = federate(features, out=tmp_path / "one", **asked)
    assert own["top1"] >= 0.8
    assert one["top1"] <= 0.6
    assert own["top1"] == pytest.approx(own["mean_client_top1"])  # fifteen clips each
    sent = json.loads((tmp_path / "own" / "communication.json").read_text())
    assert sent["head_parameters"] - sent["shared_parameters"] == 32 * 3 + 3
    arrays = load_file(tmp_path / "own" / "model.safetensors")
    assert {name for name in arrays if name.startswith("client.")} == {
        f"client.{client}.2.{kind}" for client in range(4) for kind in ("weight", "bias")
    }


def test_a_client_without_a_model_for_a_scored_clip_is_refused(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"partition": "group", "clients": 3, "cv": "group", "rounds": 1}
    with pytest.raises(UsageError, match="no test clip of a fold belongs to a client"):
        federate(clips(), out=tmp_path / "run", strategy="personal:private=4", **asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("folds", [None, 3])
def test_clips_of_a_class_that_no_client_has_are_not_tested_by_own_models(
    folds: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # with two clients of one class each, one of the three classes has no client
    asked: dict[str, Any] = {"partition": "client-dirichlet:0.001", "clients": 2, "rounds": 2}
    asked |= {"settings": SHORT, "folds": folds}
    own = federate(clips(), out=tmp_path / "own", strategy="personal:private=4", **asked)
    lost, num_tests = own["num_untested"], 60 if folds else 12
    assert 0 < lost < num_tests and own["num_test"] == num_tests - lost
    (said,) = {one.message for one in caplog.records if "belong to no client" in one.message}
    assert f"is private to each client: {lost}, of '" in said
    rows = read_predictions(tmp_path / "own")
    assert len(rows.clip_ids) == own["num_test"] and None not in rows.clients
    right = [said == label for said, label in zip(rows.predicted, rows.labels, strict=True)]
    assert own["top1"] == pytest.approx(np.mean(right))
    one = federate(clips(), out=tmp_path / "one", **asked)
    assert (one["num_test"], one["num_untested"]) == (num_tests, 0)


def test_an_own_model_is_tested_as_before_where_every_class_has_a_client(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"partition": "client-dirichlet:1000", "clients": 2, "rounds": 1}
    own = federate(clips(), out=tmp_path, strategy="personal:private=4", settings=SHORT, **asked)
    assert (own["num_test"], own["num_untested"]) == (12, 0)


def test_folds_score_every_clip_once_and_the_saved_model_has_seen_all(tmp_path: Path) -> None:
    summary = federate(clips(), out=tmp_path, folds=3, rounds=2, settings=SHORT)
    assert (summary["num_train"], summary["num_test"], summary["num_left_out"]) == (60, 60, 0)
    assert summary["model"] == "all rows"
    rows = metrics(tmp_path)
    assert [row["fold"] for row in rows] == ["1", "1", "2", "2", "3", "3", "all", "all"]
    assert [row["accuracy"] == "" for row in rows] == [False] * 6 + [True] * 2


def test_a_finished_run_is_read_again_but_not_for_other_clips(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"out": tmp_path, "rounds": 1, "settings": SHORT, "resume": True}
    summary = federate(clips(), **asked)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert federate(clips(), **asked) == summary  # seconds and all
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    others = [f"{row + 1:032x}" for row in range(60)]
    for other in (clips(splits=["a"] * 60), clips(clip_ids=others)):
        with pytest.raises(UsageError, match="is a run with clips='"):
            federate(other, **asked)


def test_noise_is_accounted_for(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"clients": 4, "rounds": 3, "settings": SHORT}
    asked |= {"strategy": "fedavg:clip=1,noise=2"}
    spent = federate(clips(), out=tmp_path, **asked)["privacy"]
    assert (spent["noise"], spent["clip"], spent["rounds"], spent["delta"]) == (2.0, 1.0, 3, 1e-5)
    # by Opacus, three rounds of noise 2 are 4.01 with all clients
    assert spent["epsilon"] == pytest.approx(4.01, abs=1e-2)
    # drawn clients are named in communication.json: only the rounds that none sits out count
    drawn = federate(clips(), out=tmp_path, clients_per_round=1, **asked)["privacy"]
    sent = json.loads((tmp_path / "communication.json").read_text())
    assert drawn["rounds"] == max(row["rounds"] for row in sent["clients"]) <= 3
    assert (drawn["epsilon"] < spent["epsilon"]) == (drawn["rounds"] < 3)
    assert federate(clips(), out=tmp_path, rounds=1, settings=SHORT)["privacy"] is None


def test_noise_comes_from_no_seed_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"strategy": "fedavg:clip=1,noise=2", "rounds": 1, "settings": SHORT}
    asked |= {"clients": 4, "head": "mlp:hidden=8"}
    one = federate(clips(), out=tmp_path / "one", **asked)
    other = federate(clips(), out=tmp_path / "other", **asked)
    assert one["privacy"] == other["privacy"]
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "other"))
    # a clipped step of 1 by four clients, noise 2: two draws differ by 2 sqrt(2) / 4 on average
    step = torch.cat([(first[key] - second[key]).flatten() for key in first if "head" in key])
    assert float(step.std()) == pytest.approx(2 * 2**0.5 / 4, rel=0.5)


def test_with_noise_no_moments_are_sent_and_features_are_not_scaled(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"rounds": 1, "settings": SHORT, "clients": 4}
    summary = federate(clips(), out=tmp_path, strategy="fedavg:clip=1,noise=2", **asked)
    assert (summary["standardise_bytes_up"], summary["standardise_bytes_down"]) == (0, 0)
    arrays = load_file(tmp_path / "model.safetensors")
    assert torch.equal(arrays["standardise.mean"], torch.zeros(10, dtype=torch.float64))
    assert torch.equal(arrays["standardise.std"], torch.ones(10, dtype=torch.float64))
    scaled = federate(clips(), out=tmp_path, strategy="fedavg:clip=1", **asked)
    assert scaled["standardise_bytes_up"] == 4 * (8 + 16 * 10)


def with_groups(*sizes: int) -> Features:
    """Return clips in groups of these sizes, all to train on, but for the last twelve."""
    names = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    num_train = len(names)
    names += ["group 0"] * 12
    splits = ["train"] * num_train + ["test"] * 12
    return clips(num_rows=num_train + 12, groups=names, splits=splits)


def sent_moments(monkeypatch: pytest.MonkeyPatch) -> list[Moments]:
    """Return a list to which every client's moments are added."""
    seen: list[Moments] = []

    def watched(parts: Sequence[Moments]) -> Moments:
        seen.extend(parts)
        return combine(parts)

    monkeypatch.setattr(standardization, "combine", watched)
    return seen


@pytest.mark.parametrize("min_clips", [1, 3, 10])
def test_a_client_with_too_few_clips_is_left_out_and_its_moments_are_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, min_clips: int
) -> None:
    sizes = (20, 1, 2, 3, 12)
    seen = sent_moments(monkeypatch)
    asked: dict[str, Any] = {"partition": "group", "clients": 5, "rounds": 2, "settings": SHORT}
    summary = federate(with_groups(*sizes), out=tmp_path, min_clips=min_clips, **asked)
    part = [size if size >= min_clips else 0 for size in sizes]
    assert summary["client_sizes"] == part
    assert summary["num_train"] == sum(part)
    assert summary["num_left_out"] == 38 - sum(part)
    small = [(client, size) for client, size in enumerate(sizes) if size < min_clips]
    assert summary["left_out_clients"] == [f"client {c}: {n} training clips" for c, n in small]
    sent = json.loads((tmp_path / "communication.json").read_text())
    taking = [client for client, size in enumerate(part) if size]
    assert [row["clients"] for row in sent["rounds"]] == [taking, taking]
    # one clip's mean is the clip, and two are the mean minus and plus the deviation
    assert [moments.count for moments in seen] == [size for size in part if size >= 3]
    assert summary["standardise_bytes_down"] == len(taking) * 16 * 10
    assert json.loads((tmp_path / "config.json").read_text())["min_clips"] == min_clips


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"min_clips": 0}, "min_clips=0: must be 1 or more"),
        ({"clients": 24}, "min_clips=3: none of 24 clients has so many training clips, the larg"),
        ({"clients": 24, "min_clips": 1}, "clients=24: none has 3 training clips, and the"),
        ({"clients_per_round": 4, "min_clips": 13}, "min_clips=13: none of 4 clients has so many"),
        (
            {"partition": "classes", "clients": 3, "min_clips": 17, "clients_per_round": 3},
            "min_clips=17: none of 3 clients",
        ),
    ],
)
def test_clients_that_are_all_too_small_are_refused_before_anything_is_written(
    tmp_path: Path, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        federate(clips(), out=tmp_path / "run", **{"rounds": 1, "settings": SHORT, **choice})
    assert not (tmp_path / "run").exists()


def test_a_class_that_no_client_trains_on_is_named(tmp_path: Path) -> None:
    features = with_groups(20, 2, 16)
    labels = np.arange(len(features.labels)) % 2
    labels[20:22] = 2  # the class of the client that is left out
    labels[-3:] = 2
    summary = federate(
        dataclasses.replace(features, labels=labels),
        out=tmp_path,
        partition="group",
        clients=3,
        rounds=1,
        settings=SHORT,
    )
    assert summary["untrained_classes"] == [
        f"{features.classes[2]}: 3 test clips, and none to train on"
    ]


def test_with_a_client_for_each_group_no_group_is_shared(tmp_path: Path) -> None:
    splits = ["test" if row < 12 else "train" for row in range(60)]
    summary = federate(
        clips(splits=splits), out=tmp_path, partition="group", rounds=1, settings=SHORT
    )
    assert summary["evaluation"] == "split column"
    assert summary["client_sizes"] == [12, 12, 12, 12]
    assert (summary["num_train"], summary["num_test"]) == (48, 12)


def test_standardiser_is_that_of_the_clients_rows_alone(tmp_path: Path) -> None:
    splits = ["test" if row < 12 else "train" for row in range(60)]
    features = clips(splits=splits)
    federate(features, out=tmp_path, rounds=1, settings=SHORT)
    arrays = load_file(tmp_path / "model.safetensors")
    seen = features.features[12:].astype(np.float64)
    # float64 sums of 48 terms, merged from four clients
    np.testing.assert_allclose(arrays["standardise.mean"].numpy(), seen.mean(0), atol=1e-12)
    np.testing.assert_allclose(arrays["standardise.std"].numpy(), seen.std(0), rtol=1e-12)


def test_the_seed_decides_every_figure_but_the_time(tmp_path: Path) -> None:
    def figures(name: str, seed: int) -> list[dict[str, str]]:
        federate(clips(), out=tmp_path / name, rounds=2, settings=SHORT, seed=seed)
        return [{**row, "seconds": ""} for row in metrics(tmp_path / name)]

    assert figures("a", 0) == figures("b", 0)
    assert figures("a", 0) != figures("c", 1)


def test_refusals_are_named_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_client(monkeypatch, 0)
    summary = federate(clips(), out=tmp_path, rounds=1, settings=SHORT)
    assert summary["num_rejected_updates"] == 1
    assert "round 1, client 0: " in summary["rejected_updates"][0]
    assert "holds NaN or infinity" in summary["rejected_updates"][0]
    assert metrics(tmp_path)[0]["refused"] == "1"


@pytest.mark.parametrize("choice", [{}, {"folds": 2}, {"strategy": "fedavg:clip=1,noise=1"}])
def test_a_run_whose_updates_are_all_rejected_fails(tmp_path: Path, choice: dict[str, Any]) -> None:
    settings = TrainingConfig(epochs=5, learning_rate=1e30)
    with pytest.raises(
        KinestoreError, match=r"round 1: none of 4 updates can be used \(client 0: "
    ):
        federate(clips(), out=tmp_path, rounds=3, settings=settings, **choice)
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("changes", "choice", "message"),
    [
        ({}, {"rounds": 0}, "rounds=0: must be 1 or more"),
        (
            {},
            {"clients_per_round": 5},
            "clients_per_round=5: must be from 1 to 4, the number of clients",
        ),
        ({}, {"clients": 49}, "num_clients=49: must be from 1 to 48, the number of rows"),
        ({}, {"clients": 5, "partition": "group"}, "num_clients=5: must be 4 or fewer, the number"),
        ({}, {"partition": "x"}, "partition='x': must be one of iid, group"),
        (
            {"groups": [None] * 60},
            {"partition": "group"},
            "group=None for /videos/0.avi: give every clip a group",
        ),
        ({}, {"strategy": "x"}, "strategy='x': must be one of"),
        ({}, {"head": "x"}, "head='x': must be one of"),
        ({"labels": np.full(60, -1)}, {}, "classes=0 among 0 labeled clips"),
        ({"features": np.full((60, 3), np.inf, np.float32)}, {}, "row 0 holds NaN or infinity"),
    ],
)
def test_a_wrong_request_is_named_and_leaves_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        federate(clips(**changes), out=tmp_path / "run", **choice)
    assert not (tmp_path / "run").exists()
