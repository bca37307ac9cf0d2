"""What a run keeps of each scored clip, and of who held which clip."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kinestore.heads import TrainingConfig
from kinestore.pipeline.runs.client_partition import count_client_classes, read_client_partition
from kinestore.pipeline.runs.predictions import (
    Predictions,
    read_predictions,
    write_predictions,
)
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.federated.client_partition import partition_clips
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.folds import choose_folds
from kinestore.pipeline.training.run_figures import predictions_of
from kinestore.store import UsageError
from tests.helpers.jobs import federate, train
from tests.helpers.reported import without_pictures
from tests.helpers.trained import SHORT, clips, described, saved_mlp

QUICK = TrainingConfig(epochs=1, batch_size=16)


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over three folds."""
    run = tmp_path_factory.mktemp("runs") / "central"
    train(clips(), out=run, folds=3, settings=SHORT)
    return run


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished federated run."""
    run = tmp_path_factory.mktemp("runs") / "together"
    federate(clips(), out=run, rounds=2, settings=QUICK)
    return run


def test_every_clip_is_told_once_over_the_folds_and_rows_are_sorted(central: Path) -> None:
    features, kept = clips(), read_predictions(central)
    assert kept.clip_ids == sorted(features.clip_ids)
    assert kept.labels == [features.classes[label] for label in features.labels]
    assert Counter(kept.folds) == {"1": 20, "2": 20, "3": 20}
    _, folds = choose_folds(features, EvaluationConfig(folds=3), seed=0)
    for fold in folds:
        assert {kept.folds[row] for row in fold.test} == {fold.name}
    assert kept.clients == [None] * 60
    right = [one == other for one, other in zip(kept.predicted, kept.labels, strict=True)]
    assert np.mean(right) == json.loads((central / "summary.json").read_text())["top1"]


def test_what_was_said_is_what_the_saved_model_says(tmp_path: Path) -> None:
    splits = ["train" if row % 5 else "test" for row in range(60)]
    features = clips(splits=splits)
    train(features, out=tmp_path, settings=SHORT)
    kept = read_predictions(tmp_path)
    head, standardizer = saved_mlp(tmp_path)
    head.eval()
    ready = torch.from_numpy(standardizer.apply(features.features[::5]))
    shares = torch.softmax(head(ready).double(), dim=1).detach()
    assert kept.clip_ids == features.clip_ids[::5]
    assert kept.predicted == [features.classes[best] for best in shares.argmax(1)]
    np.testing.assert_allclose(kept.confidence, shares.amax(1), rtol=1e-6)  # float32
    assert set(kept.folds) == {"test"}


def test_a_case_worked_by_hand() -> None:
    features = described(
        features=np.zeros((4, 1), np.float32),
        labels=np.array([0, 1, 2, 0]),
        clip_ids=["d", "b", "a", "c"],
    )
    nothing = np.zeros(0, np.int64)
    folds = [Fold(name="x", train=nothing, test=np.array([0, 2]))]
    folds.append(Fold(name="y", train=nothing, test=np.array([3, 1])))
    # e^ln(3) : e^0 : e^0 is 3 : 1 : 1, so 0.6; ln(8) against two zeros 0.8; NaN is no confidence
    logits = [
        torch.tensor([[np.log(3.0), 0, 0], [0, np.log(8.0), 0]]),
        torch.tensor([[np.nan, 0, 0], [0, 0, 800.0]]),
    ]
    told = predictions_of(features, folds, logits, owners=[np.array([5, -1]), np.array([0, 1])])
    assert told.clip_ids == ["a", "b", "c", "d"]
    assert told.labels == ["walk", "run", "jump", "jump"]
    assert told.predicted == ["run", "walk", "jump", "jump"]
    np.testing.assert_allclose(told.confidence, [0.8, 1, 0, 0.6], rtol=1e-6)  # float32
    assert told.confidence.dtype == np.float32
    assert told.folds == ["x", "y", "y", "x"]
    assert told.clients == [None, 1, 0, 5]


@pytest.mark.parametrize("partition", ["iid", "group", "beta-bernoulli"])
def test_a_scored_clip_has_the_client_of_its_part(tmp_path: Path, partition: str) -> None:
    summary = federate(clips(), out=tmp_path, partition=partition, rounds=1, settings=QUICK)
    kept = read_predictions(tmp_path)
    right: dict[int | None, list[bool]] = {}
    for client, label, said in zip(kept.clients, kept.labels, kept.predicted, strict=True):
        right.setdefault(client, []).append(label == said)
    for client, top1 in enumerate(summary["client_top1"]):
        assert top1 == (float(np.mean(right[client])) if client in right else None)
    if partition == "group":  # a client's clips are those of its groups
        features, assigned = clips(), read_client_partition(tmp_path)
        owner = {features.groups[features.clip_ids.index(clip)]: c for clip, c in assigned.items()}
        groups = [features.groups[features.clip_ids.index(clip)] for clip in kept.clip_ids]
        assert kept.clients == [owner[group] for group in groups]


def test_a_clip_of_a_group_that_no_client_has_belongs_to_none(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"partition": "group", "clients": 3, "cv": "group"}
    federate(clips(), out=tmp_path, rounds=1, settings=QUICK, **asked)
    assert read_predictions(tmp_path).clients == [None] * 60
    assert pq.read_schema(tmp_path / "predictions.parquet").field("client").type == pa.int32()


@pytest.mark.parametrize(("folds", "seed"), [(None, 0), (2, 1), (2, 2)])
def test_the_partition_is_that_of_the_saved_model(
    tmp_path: Path, folds: int | None, seed: int
) -> None:
    asked: dict[str, Any] = {"folds": folds, "seed": seed, "rounds": 1, "settings": QUICK}
    summary = federate(clips(), out=tmp_path, partition="dirichlet:0.6", **asked)
    features, assigned, held = (
        clips(),
        read_client_partition(tmp_path),
        count_client_classes(tmp_path),
    )
    label_of = dict(zip(features.clip_ids, features.labels, strict=True))
    assert held == Counter((c, features.classes[label_of[clip]]) for clip, c in assigned.items())
    assert list(assigned) == sorted(assigned) and len(assigned) == summary["num_train"]
    counted = Counter(assigned.values())
    assert [counted[client] for client in range(4)] == summary["client_sizes"]
    if folds:
        everything = np.arange(60)
        parts = partition_clips(
            features, everything, clients=4, partition="dirichlet:0.6", seed=seed
        )
        assert assigned == {features.clip_ids[r]: c for c, part in enumerate(parts) for r in part}
    else:
        assert not set(assigned) & set(read_predictions(tmp_path).clip_ids)


def test_the_same_run_gives_the_same_bytes_stopped_or_not(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise Stop

    asked: dict[str, Any] = {"rounds": 3, "folds": 2, "settings": QUICK, "checkpoint_every": 2}
    federate(clips(), out=tmp_path / "whole", **asked)
    with pytest.raises(Stop):
        federate(clips(), out=tmp_path / "cut", progress=stop, **asked)
    assert not (tmp_path / "cut" / "predictions.parquet").exists()
    with pytest.raises(UsageError, match="cut: is not finished; give its command again, and wait"):
        read_predictions(tmp_path / "cut")
    federate(clips(), out=tmp_path / "cut", resume=True, **asked)
    for name in ("predictions.parquet", "client_partition.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    train(clips(), out=tmp_path / "a", settings=SHORT)
    train(clips(), out=tmp_path / "b", settings=SHORT)
    first, second = (tmp_path / name / "predictions.parquet" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_run_in_place_of_a_federated_one_has_no_partition(tmp_path: Path) -> None:
    federate(clips(), out=tmp_path, rounds=1, settings=QUICK)
    train(clips(), out=tmp_path, settings=QUICK)
    assert not (tmp_path / "client_partition.parquet").exists()
    with pytest.raises(UsageError, match="is not federated and has no clients; name a run that"):
        read_client_partition(tmp_path)


def test_the_partition_of_an_earlier_version_is_read_by_its_old_name(
    tmp_path: Path, together: Path
) -> None:
    run = shutil.copytree(together, tmp_path / "run")
    partition, counts = read_client_partition(run), count_client_classes(run)
    (run / "client_partition.parquet").rename(run / "deal.parquet")
    assert read_client_partition(run) == partition and partition
    assert count_client_classes(run) == counts
    train(clips(), out=run, settings=QUICK)  # which replaces the run
    assert not (run / "deal.parquet").exists()


def test_labels_of_any_kind_come_back_as_they_were(tmp_path: Path, central: Path) -> None:
    names = ["", 'a,"b"', "<script>", "\u202e\u0639\u0631", "🏃\x00\n", "x" * 300]
    shutil.copytree(central, tmp_path / "run")
    told = Predictions(
        clip_ids=[str(row) for row in range(6)],
        labels=names,
        predicted=names[::-1],
        confidence=np.linspace(0, 1, 6, dtype=np.float32),
        folds=names,
        clients=[None, 0, 1, 2, 3, 2**31 - 1],
    )
    write_predictions(tmp_path / "run", told)
    kept = read_predictions(tmp_path / "run")
    np.testing.assert_array_equal(kept.confidence, told.confidence)
    assert vars(replace(kept, confidence=told.confidence)) == vars(told)


def test_no_run_an_unfinished_one_and_an_old_one_are_told_apart(
    tmp_path: Path, central: Path, together: Path
) -> None:
    (tmp_path / "config.json").write_text('{"job": "nothing of ours"}')
    for path in (tmp_path, tmp_path / "absent", central / "config.json"):
        with pytest.raises(UsageError, match=r"run=.*: is no run folder; name one that `kinestore"):
            read_predictions(path)
    run = shutil.copytree(together, tmp_path / "run")
    for name in ("predictions.parquet", "client_partition.parquet"):
        (run / name).unlink()
    with pytest.raises(UsageError, match=r"has no predictions.parquet, as an earlier version left"):
        read_predictions(run)
    with pytest.raises(
        UsageError, match=r"has no client_partition.parquet, as an earlier version left it; giv"
    ):
        read_client_partition(run)


def table(**changes: Any) -> pa.Table:
    """Two rows of predictions.parquet, but for other columns; None leaves one out."""
    columns: dict[str, Any] = {
        "clip_id": ["a", "b"],
        "label": ["x", "y"],
        "predicted": ["y", "y"],
        "confidence": pa.array([0.5, 1.0], pa.float32()),
        "fold": ["1", "2"],
        "client": pa.array([None, 3], pa.int32()),
    }
    columns |= changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"clip_id": ["a", "a"]}, "has 1 rows of a clip that it has already"),
        ({"clip_id": [None, "a"]}, "column 'clip_id' lacks 1 values"),
        ({"clip_id": [1, 2]}, "column 'clip_id' is int64, not string"),
        ({"label": [None, "a"]}, "column 'label' lacks 1 values"),
        ({"fold": None}, "column 'fold' is missing, not string"),
        ({"client": None}, "column 'client' is missing, not int32"),
        ({"client": pa.array([-1, 0], pa.int32())}, "a client has a number below 0"),
        ({"client": pa.array([1, 0], pa.int64())}, "column 'client' is int64, not int32"),
        ({"confidence": pa.array([0.5, 1.0], pa.float64())}, "is double, not float"),
        ({"confidence": pa.array([0.5, np.nan], pa.float32())}, "a confidence is not from 0 to 1"),
        ({"confidence": pa.array([0.5, 1.5], pa.float32())}, "a confidence is not from 0 to 1"),
        ({"confidence": pa.array([-1, 1.0], pa.float32())}, "a confidence is not from 0 to 1"),
        ({"confidence": pa.array([None, 1.0], pa.float32())}, "'confidence' lacks 1 values"),
        ({"label": ["x" * 2**20] * 2}, None),
    ],
)
def test_what_a_run_cannot_have_written_is_refused(
    tmp_path: Path, central: Path, changes: dict[str, Any], why: str | None
) -> None:
    run = shutil.copytree(central, tmp_path / "run")
    pq.write_table(table(**changes), run / "predictions.parquet")
    if why is None:
        assert read_predictions(run).labels == changes["label"]
        return
    with pytest.raises(UsageError, match=f"cannot be used .*{why}.*; give its command again"):
        read_predictions(run)


def test_a_broken_file_is_one_sentence(tmp_path: Path, central: Path, together: Path) -> None:
    run = shutil.copytree(together, tmp_path / "run")
    whole = (run / "predictions.parquet").read_bytes()
    for content in (b"", b"PAR1", whole[:-9], whole[:200] + bytes(200) + whole[400:]):
        for name, read in (
            ("predictions", read_predictions),
            ("client_partition", read_client_partition),
        ):
            (run / f"{name}.parquet").write_bytes(content)
            with pytest.raises(UsageError, match=rf"run=.*: cannot be used .*{name}.parquet"):
                read(run)
    (run / "predictions.parquet").unlink()
    os.mkfifo(run / "predictions.parquet")
    with pytest.raises(UsageError, match="not a regular file"):
        read_predictions(run)
    twice = {"clip_id": ["a", "a"], "client": pa.array([0, 1], pa.int32()), "label": ["x", "y"]}
    pq.write_table(pa.table(twice), run / "client_partition.parquet")
    with pytest.raises(
        UsageError, match=r"client_partition.parquet: has 1 rows of a clip that it has already"
    ):
        read_client_partition(run)


def test_a_file_that_claims_too_much_is_refused_before_it_is_read(
    tmp_path: Path, central: Path
) -> None:
    run = shutil.copytree(central, tmp_path / "run")
    bomb = pa.table(
        {
            "clip_id": [str(n) for n in range(9)],
            **{name: ["x" * 10**6] * 9 for name in ("label", "predicted", "fold")},
        }
    )  # each text is there once, in a dictionary
    full = table()
    rows = pa.concat_tables([full] * 5)[:9]
    for name in ("clip_id", "label", "predicted", "fold"):
        rows = rows.set_column(rows.column_names.index(name), name, bomb.column(name))
    pq.write_table(rows, run / "predictions.parquet", compression="ZSTD")
    with pytest.raises(UsageError, match=r"too much for its size|too much for a file of"):
        read_predictions(run)
