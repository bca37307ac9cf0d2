"""Columns of the user's own give splits, groups, classes and colors; the usual ones stay as are."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinestore.pipeline.models import evaluate
from kinestore.pipeline.projection.color_by import check_color, point_columns
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.federated.partition_store import partition
from kinestore.pipeline.training.folds import choose_folds
from kinestore.pipeline.training.train import train
from kinestore.store import Features, Store, UsageError
from tests.helpers.stored import SPEC, clip, embedding
from tests.helpers.trained import clips


def with_own(columns: Mapping[str, list[str | None]], **more: object) -> Features:
    return replace(clips(**more), own_columns=columns)  # type: ignore[arg-type]


def store_of(folder: Path) -> Store:
    """Forty clips with two split columns, two label columns and a camera."""
    store = Store.create(folder)
    marks = ["train", "train", "test", "val"]
    rows = [
        clip(
            f"{n:032x}",
            label="ab"[n % 2],
            split=marks[n % 4],
            extra={  # type: ignore[arg-type]
                "split_1": marks[n % 4],
                "split_2": marks[(n + 2) % 4],
                "action": "xyz"[n % 3],
                "camera": str(n % 5),
                "note": "",
            },
        )
        for n in range(40)
    ]
    store.append_clips(rows)
    store.append(SPEC, [one.clip_id for one in rows], [embedding(n % 2, n % 3) for n in range(40)])
    return store


def test_loaded_clips_have_the_own_columns(tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    assert set(loaded.own_columns) == {"split_1", "split_2", "action", "camera", "note"}
    assert loaded.column("camera")[:3] == ["0", "1", "2"] and loaded.column("note")[0] is None
    few = loaded.select(np.array([2, 0]))
    assert few.column("camera") == ["2", "0"] and few.fingerprint != loaded.fingerprint
    assert repr(loaded) == f"Features((40, 2) float32, 2 classes, {loaded.views[0]})"
    assert repr(Store(tmp_path / "s")) == f"Store({str(tmp_path / 's')!r})"


def test_each_split_column_gives_its_own_division(tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    usual, (first,) = choose_folds(loaded, EvaluationConfig(split="column"), seed=0)
    named, (same,) = choose_folds(loaded, EvaluationConfig(split="split_1"), seed=0)
    other, (second,) = choose_folds(loaded, EvaluationConfig(split="split_2"), seed=0)
    assert (usual, named, other) == (
        "split column", "split column 'split_1'", "split column 'split_2'"
    )  # fmt: skip
    assert first.test.tolist() == same.test.tolist() == list(range(2, 40, 4))
    assert second.test.tolist() == list(range(0, 40, 4))
    assert second.validation.tolist() == list(range(1, 40, 4))


@pytest.mark.parametrize("mark", ["val", "validation", "dev"])
def test_the_test_split_is_the_mark_that_is_named(mark: str, tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    described, (fold,) = choose_folds(loaded, EvaluationConfig(test_split=mark), seed=0)
    assert fold.test.tolist() == list(range(3, 40, 4)) and not len(fold.validation)
    assert len(fold.train) == 20 and "tested on 'val'" in described


@pytest.mark.parametrize("column", ["camera", "action", "split_1"])
def test_one_value_of_a_column_is_left_out_at_a_time(column: str, tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    described, folds = choose_folds(loaded, EvaluationConfig(cv=column), seed=0)
    assert described == f"leave one {column} out"
    assert [fold.name for fold in folds] == sorted(set(map(str, loaded.column(column))))
    for fold in folds:
        assert {loaded.column(column)[row] for row in fold.test} == {fold.name}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"split": "split_9"}, "column 'split_9': is not in the store, which has label, group"),
        ({"cv": "person"}, "column 'person': is not in the store"),
        ({"cv": "note"}, "note=None for /videos/"),
        ({"split": "camera"}, "split column 'camera': its marks '0', '1'"),
        ({"split": "note"}, "split='note': no labeled clip is marked"),
        ({"split": "split_1", "test_split": "dusk"}, "test_split='dusk': no labeled clip has that"),
        ({"cv": "camera", "test_split": "val"}, "test_split='val': is a mark of a split column"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    settings: dict[str, str], words: str, tmp_path: Path
) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    with pytest.raises(UsageError, match=words):
        choose_folds(loaded, EvaluationConfig(**settings), seed=0)  # type: ignore[arg-type]


def test_a_run_on_another_label_column_is_evaluated_on_that_column(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s")
    named = store.load("vector").with_columns(label="action", group="camera")
    assert (named.classes, named.groups[:2]) == (["x", "y", "z"], ["0", "1"])
    summary = train(named, out=tmp_path / "run", evaluation=EvaluationConfig(split="split_2"))
    assert summary.classes == ["x", "y", "z"]
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["columns"] == {"group": "camera", "label": "action"}
    tested = evaluate(tmp_path / "run", store)
    assert tested.classes == ["x", "y", "z"] and tested.interval_over == "groups"
    with pytest.raises(UsageError, match="has no clip to test"):
        evaluate(tmp_path / "run", store, columns={"label": "label"})


def test_a_run_on_the_usual_columns_has_no_such_entry(tmp_path: Path) -> None:
    loaded = store_of(tmp_path / "s").load("vector")
    train(loaded.with_columns(label="label", group="group"), out=tmp_path / "run")
    assert "columns" not in json.loads((tmp_path / "run/config.json").read_text())


def test_a_partition_goes_by_the_columns_that_are_named(tmp_path: Path) -> None:
    found = partition(
        store_of(tmp_path / "s"),
        partition="group",
        num_clients=5,
        split="split_2",
        columns={"label": "action", "group": "camera"},
    )
    assert found.classes == ["x", "y", "z"] and found.num_used == 20
    assert len({int(one, 16) % 5 for one in found.clips[0]}) == 1


def test_own_columns_color_a_map() -> None:
    own = {"camera": ["left", None] * 3}
    some = with_own(own, num_rows=6)
    check_color("camera", [some], run=None)
    columns = point_columns([some], color="camera", clients=None, with_extractors=False)
    assert columns["camera"] == own["camera"]
    with pytest.raises(UsageError, match="or a column of your own: camera"):
        check_color("person", [some], run=None)
