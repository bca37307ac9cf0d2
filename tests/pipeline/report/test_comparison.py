"""Two runs compared clip by clip, against scipy and a case by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import kinestore as ks
from kinestore.pipeline.report.paired import compare_predictions
from kinestore.pipeline.runs.predictions import Predictions
from tests.helpers import jobs
from tests.helpers.commands import kinestore
from tests.helpers.embedded import embedded_store


def predictions(labels: str, predicted: str, *, first: int = 0) -> Predictions:
    """A letter for each clip."""
    count = len(labels)
    return Predictions(
        clip_ids=[f"{number:032x}" for number in range(first, first + count)],
        labels=list(labels),
        predicted=list(predicted),
        confidence=np.ones(count, np.float32),
        folds=["test"] * count,
        clients=[None] * count,
    )


def test_a_case_by_hand() -> None:
    # clip     0 1 2 3 4 5 6 7
    # label    a a a a b b b b
    # first    a a b b b a a a : right on 0, 1, 4
    # second   a b a a b b b a : right on 0, 2, 3, 4, 5, 6
    # both 0, 4; lost 1; gained 2, 3, 5, 6; neither 7
    # p = 2 (C(5, 0) + C(5, 1)) / 2^5 = 12/32 for 4 gained and 1 lost
    found = compare_predictions(
        predictions("aaaabbbb", "aabbbaaa"), predictions("aaaabbbb", "abaabbba")
    )
    assert (found.both, found.lost, found.gained, found.neither) == (2, 1, 4, 1)
    assert (found.first_top1, found.second_top1) == (3 / 8, 6 / 8)
    assert found.p_value == pytest.approx(12 / 32)
    changes = {one.name: (one.change, one.gained, one.lost) for one in found.classes}
    assert changes == {"a": (1 / 4, 2, 1), "b": (2 / 4, 2, 0)}
    assert [one.name for one in found.classes] == ["b", "a"]  # the largest gain first


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 9), (40, 41), (100, 60)])
def test_p_is_the_exact_test_of_scipy(gained: int, lost: int) -> None:
    labels = "a" * (gained + lost + 5)
    first = predictions(labels, "b" * gained + "a" * (lost + 5))
    second = predictions(labels, "a" * gained + "b" * lost + "a" * 5)
    p = compare_predictions(first, second).p_value
    tail = 2 * float(stats.binom.cdf(min(gained, lost), gained + lost, 0.5))
    assert p == pytest.approx(min(1.0, tail))


def test_p_is_symmetric_and_equal_runs_do_not_differ() -> None:
    first, second = predictions("aabb", "aaab"), predictions("aabb", "abbb")
    assert compare_predictions(first, second).p_value == compare_predictions(second, first).p_value
    assert compare_predictions(first, first).p_value == 1


def test_only_clips_of_both_count_and_labels_must_agree() -> None:
    found = compare_predictions(predictions("aab", "aab"), predictions("abb", "abb", first=1))
    assert (found.num_clips, found.num_only_first, found.num_only_second) == (2, 1, 1)
    with pytest.raises(ks.UsageError, match="is 'b' in the first run and 'a' in the second"):
        compare_predictions(predictions("ab", "ab"), predictions("aa", "aa"))
    with pytest.raises(ks.UsageError, match="tested no clip in common"):
        compare_predictions(predictions("a", "a"), predictions("a", "a", first=7))


def test_two_runs_are_compared_on_a_page(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    for name, view in (("<b>one", "vector"), ("two", "other")):
        jobs.train(store.load(view), out=tmp_path / name, epochs=2, folds=3)
    page = tmp_path / "page" / "c.html"
    said = kinestore("compare", tmp_path / "<b>one", tmp_path / "two", "--out", page)
    assert "on 45 test clips of both; " in said.replace("\n", " ")
    text = page.read_text()
    assert "&lt;b&gt;one" in text and "<b>one" not in text and "http://" not in text
    found = ks.compare(tmp_path / "<b>one", tmp_path / "two")
    printed = json.loads(kinestore("compare", tmp_path / "<b>one", tmp_path / "two", "--json"))
    assert printed == found.to_json() and printed["p_value"] == found.paired.p_value
    wrong = kinestore("compare", tmp_path / "two", tmp_path / "two", "--out", "x.txt", status=2)
    assert "out=x.txt: must end in .html" in wrong
