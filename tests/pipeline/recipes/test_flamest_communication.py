"""The reductions of communication that FLAMeST prints."""

import pytest

from kinestore.pipeline.recipes.flamest_communication import PRINTED_HEAD_PARAMETERS, reductions


def test_reductions_are_those_that_flamest_prints() -> None:
    printed = reductions(PRINTED_HEAD_PARAMETERS)
    assert printed["eq_13"] == pytest.approx(0.9944, abs=1e-4)
    assert printed["eq_14"] == pytest.approx(0.8654, abs=1e-4)
    assert reductions(1_599_589)["eq_13"] == pytest.approx(0.99432, abs=1e-5)


def test_reductions_by_hand() -> None:
    # a head of half a ResNet-18: 1 - 5,844,756 / (247,414,076 + 32,454,096 + 5,844,756) = 0.97954
    half = reductions(5_844_756)
    assert half["eq_14"] == 0.5
    assert half["eq_13"] == pytest.approx(0.97954, abs=1e-5)
