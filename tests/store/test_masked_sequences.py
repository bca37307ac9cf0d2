"""Sequences with steps that have no frame: stored with a mask, loaded with it, pooled without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestore.store import MASKED, Embedding, Store, UsageError, ViewSpec
from tests.helpers.stored import clip

SPEC = ViewSpec(extractor="steps", shape=(3, 2), settings={"code": 1, **MASKED})
VALUES = np.array([[1, 2], [3, 4], [0, 0]], np.float32)


def row(*mask: bool) -> Embedding:
    return Embedding(
        vector=VALUES,
        frame_index=np.arange(sum(mask)),
        pts_s=np.arange(sum(mask)) / 25,
        mask=np.array(mask),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip(name, label=label) for name, label in zip("abc", "xyx", strict=True)])
    made.append(SPEC, ["b", "a"], [row(True, True, False), row(True, True, True)])
    made.append(SPEC, ["c"], [row(False, True, False)])
    return made


def test_a_sequence_is_loaded_with_its_mask(store: Store) -> None:
    found = store.load("steps:sequence")
    assert found.clip_ids == ["a", "b", "c"] and found.mask is not None
    assert found.mask.tolist() == [[True, True, True], [True, True, False], [False, True, False]]
    picked = found.select(np.array([2, 0])).mask
    assert picked is not None and picked.tolist() == [[False, True, False], [True, True, True]]


@pytest.mark.parametrize("pool", ["mean", "max", "stats"])
def test_steps_without_a_frame_are_no_part_of_a_pool(store: Store, pool: str) -> None:
    found = store.load(f"steps:{pool}")
    assert found.mask is None
    plain = Store.create(store.path.parent / pool)
    lengths = {"a": [0, 1, 2], "b": [0, 1], "c": [1]}
    for name, steps in lengths.items():
        spec = ViewSpec(extractor=f"only-{name}", shape=(len(steps), 2), settings={})
        plain.append_clips([clip(name)])
        plain.append(spec, [name], VALUES[None, steps])
        wanted = plain.load(f"only-{name}:{pool}").features[0]
        np.testing.assert_array_equal(found.features["abc".index(name)], wanted)


def test_a_view_without_masks_is_as_before(store: Store) -> None:
    spec = ViewSpec(extractor="plain", shape=(3, 2), settings={"code": 1})
    store.append(spec, ["a"], VALUES[None])
    (part,) = (store.path / "views" / spec.name).glob("*.parquet")
    assert b"mask" not in part.read_bytes()
    assert store.load("plain:sequence").mask is None
    assert spec.name == "plain@e8f78cded437d724"


def test_wrong_masks_are_refused(store: Store) -> None:
    plain = ViewSpec(extractor="plain", shape=(3, 2), settings={})
    for spec, mask, said in (
        (SPEC, np.zeros(3, bool), "with 0 steps, must be bool of shape"),
        (SPEC, np.ones(2, bool), "mask of clip d: bool of shape"),
        (SPEC, np.ones(3), "mask of clip d: float64"),
        (plain, np.ones(3, bool), "must be None in view plain"),
    ):
        times = np.arange(3) / 25
        given: Any = mask
        bad = Embedding(vector=VALUES, frame_index=np.arange(3), pts_s=times, mask=given)
        with pytest.raises(UsageError, match=said):
            store.append(spec, ["d"], [bad])


def test_a_mask_can_be_queried(store: Store) -> None:
    pytest.importorskip("duckdb")
    rows = store.sql("SELECT clip_id, mask FROM steps ORDER BY clip_id").to_pylist()
    assert [one["mask"] for one in rows][1:] == [[True, True, False], [False, True, False]]
