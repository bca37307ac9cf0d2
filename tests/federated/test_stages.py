"""Stages, alone and with every strategy that they go with."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kinestore import federated
from kinestore.federated import ClientUpdate, ServerState
from kinestore.federated.privacy import privacy_of
from kinestore.federated.system_random import system_normal
from kinestore.store import UsageError
from tests.helpers.known_noise import fix_noise
from tests.helpers.linear_clients import NAMES, answers, first, start


@pytest.mark.parametrize(
    ("settings", "steps", "wanted"),
    [
        ({"aggregate": "median"}, (1.0, 2.0, 1e9), 2.0),
        ({"aggregate": "median"}, (1.0, 2.0, 4.0, 1e9), 3.0),  # the middle two
        ({"aggregate": "trimmed-mean", "trim": 0.2}, (-1e9, 1.0, 2.0, 3.0, 1e9), 2.0),
        ({"aggregate": "trimmed-mean", "trim": 0.0}, (1.0, 2.0, 6.0), 3.0),
        # seven of a hundred, although 0.07 times 100 is above 7 in float64: 85 zeros and 860 stay
        ({"aggregate": "trimmed-mean", "trim": 0.07}, (*[0.0] * 92, 860.0, *[1e9] * 7), 10.0),
        ({"aggregate": "trimmed-mean", "trim": 0.49}, (1.0, 2.0), 1.5),  # one is left, or two
    ],
)
def test_robust_aggregates_by_hand(
    settings: dict[str, Any], steps: tuple[float, ...], wanted: float
) -> None:
    algorithm = federated.create("fedavg", **settings)
    state = algorithm.apply(start(algorithm), answers(*steps))
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy() - array, wanted, rtol=1e-6)


def test_a_long_step_is_cut_to_the_clip_and_a_short_one_is_left() -> None:
    # fifteen parameters each moved by s: a length of s sqrt(15); clipped to 3 that is 3/sqrt(15)
    algorithm = federated.create("fedavg", clip=3.0)
    state = algorithm.apply(start(algorithm), answers(100.0, 0.5))
    wanted = (3 / math.sqrt(15) + 0.5) / 2
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy() - array, wanted, rtol=1e-12)


def test_the_systems_numbers_are_standard_normal_and_never_come_again() -> None:
    shape = torch.Size([400, 1000])
    one, other = system_normal(shape), system_normal(shape)
    assert one.shape == shape and one.dtype == torch.float64
    assert not torch.equal(one, other)
    values = one.flatten()
    # 400,000 draws: mean and variance to five of their deviations, and the share beyond 1.96
    assert abs(float(values.mean())) < 5 / math.sqrt(400_000)
    assert abs(float(values.var()) - 1) < 5 * math.sqrt(2 / 400_000)
    beyond = float((values.abs() > 1.959964).double().mean())
    assert abs(beyond - 0.05) < 5 * math.sqrt(0.05 * 0.95 / 400_000)
    assert torch.isfinite(values).all()
    assert system_normal(torch.Size([])).shape == ()


def test_noise_takes_nothing_from_the_global_generators() -> None:
    before = torch.get_rng_state()
    system_normal(torch.Size([3]))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(0)
    first_draw = system_normal(torch.Size([3]))
    torch.manual_seed(0)
    assert not torch.equal(first_draw, system_normal(torch.Size([3])))


def test_noise_has_the_deviation_that_was_asked_for_and_nothing_decides_it() -> None:
    algorithm = federated.create("fedavg", clip=2.0, noise=0.5)
    arrays = {"w": torch.zeros(200_000, dtype=torch.float64)}
    state = algorithm.init(
        ServerState(arrays=arrays, parameters=frozenset("w"), num_clients=9, per_round=4)
    )
    noise = algorithm.apply(state, []).arrays["w"]
    # 0.5 * 2 / 4 = 0.25; the deviation of 200,000 draws is right to 0.25 / sqrt(400,000)
    assert float(noise.std()) == pytest.approx(0.25, abs=5 * 0.25 / math.sqrt(400_000))
    assert not torch.equal(noise, algorithm.apply(state, []).arrays["w"])


def test_steps_are_summed_and_divided_by_the_clients_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fix_noise(monkeypatch)
    algorithm = federated.create("fedavg", clip=2.0, noise=0.5)
    arrays = {"w": torch.zeros(1000, dtype=torch.float64)}
    state = algorithm.init(
        ServerState(arrays=arrays, parameters=frozenset("w"), num_clients=9, per_round=4)
    )
    noise = algorithm.apply(state, []).arrays["w"]
    # the steps are summed, not averaged by rows, and divided by the four that are expected
    one = ClientUpdate(client=0, num_samples=1000, arrays={"w": arrays["w"] + 1e-4})
    moved = algorithm.apply(state, [one]).arrays["w"] - noise
    np.testing.assert_allclose(moved.numpy(), 1e-4 / 4, rtol=1e-6)


ALLOWED: dict[str, dict[str, Any]] = {
    "clip": {"clip": 2.0},
    "equal": {"weighting": "equal"},
    "median": {"aggregate": "median"},
    "trimmed": {"aggregate": "trimmed-mean", "clip": 2.0},
    "noise": {"clip": 2.0, "noise": 0.5},
}


@pytest.mark.parametrize("stages", ALLOWED)
@pytest.mark.parametrize(
    ("name", "own"), [("fedprox", {"mu": 0.1}), ("personal", {"private": ["bias"]})]
)
def test_stages_do_to_every_average_what_they_do_to_fedavg(
    name: str, own: dict[str, Any], stages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_noise(monkeypatch)
    algorithm = federated.create(name, **own, **ALLOWED[stages])
    state = start(algorithm)
    answered = [
        ClientUpdate(
            client=answer.client,
            num_samples=1 + answer.client,
            arrays={name: answer.arrays[name] for name in state.arrays},
        )
        for answer in answers(0.1, -3.0, 5.0, 7.0)
    ]
    wanted = federated.create("fedavg", **ALLOWED[stages]).apply(state, answered)
    found = algorithm.apply(state, answered[::-1])
    assert found.arrays.keys() == wanted.arrays.keys() == state.arrays.keys()
    assert all(torch.equal(found.arrays[name], wanted.arrays[name]) for name in wanted.arrays)
    plain = federated.create("fedavg").apply(state, answered)
    assert not any(torch.equal(found.arrays[name], plain.arrays[name]) for name in plain.arrays)


def test_equal_weights_by_hand_and_buffers_by_samples() -> None:
    arrays = {"w": torch.zeros(1), "seen": torch.zeros(1), "n": torch.tensor(0)}
    state = ServerState(arrays=arrays, parameters=frozenset("w"), num_clients=2, per_round=2)
    updates = [
        ClientUpdate(
            client=client,
            num_samples=samples,
            arrays={"w": torch.full((1,), value), "seen": torch.full((1,), value), "n": count},
        )
        for client, samples, value, count in [
            (0, 1, -4.0, torch.tensor(7)),
            (1, 3, 2.0, torch.tensor(5)),
        ]
    ]
    # equal: (-4 + 2) / 2 = -1; by samples: (1 * -4 + 3 * 2) / 4 = 0.5; counters: the largest
    for name in ("fedavg", "fedprox"):
        found = federated.create(name, weighting="equal").apply(state, updates).arrays
        assert (found["w"].item(), found["seen"].item(), found["n"].item()) == (-1.0, 0.5, 7)


def test_the_bound_on_privacy_is_that_of_the_noise_whatever_the_strategy() -> None:
    accountants = pytest.importorskip("opacus.accountants")
    noisy = {"clip": 0.5, "noise": 1.0}
    bounds = [
        privacy_of(federated.create(name, **own, **noisy).stages, rounds=3)
        for name, own in [("fedavg", {}), ("fedprox", {}), ("personal", {"private": ["bias"]})]
    ]
    first, *rest = bounds
    assert first is not None
    assert all(other == first for other in rest)
    # who took part is in the run folder, so that drawing clients hides nothing: rate 1
    accountant = accountants.RDPAccountant()
    accountant.history = [(1.0, 1.0, 3)]
    assert (first.clip, first.noise, first.rounds) == (0.5, 1.0, 3)
    assert first.epsilon == pytest.approx(accountant.get_epsilon(1e-5))
    assert 0 < first.epsilon < math.inf
    nobody = privacy_of(federated.create("fedavg", **noisy).stages, rounds=0)
    assert nobody is not None and nobody.epsilon == 0
    assert privacy_of(federated.create("fedprox").stages, rounds=3) is None


def test_noise_over_buffers_is_refused() -> None:
    model = nn.BatchNorm1d(2)
    state = ServerState(
        arrays=model.state_dict(), parameters=frozenset(NAMES), num_clients=2, per_round=2
    )
    with pytest.raises(UsageError, match=r"noise=1.0: .* is a buffer"):
        federated.create("fedavg", clip=1.0, noise=1.0).init(state)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fedprox", {"mu": -1.0}, "mu=-1.0: must be 0 or more"),
        ("feddyn", {"alpha": 0.0}, "alpha=0.0: must be above 0"),
        ("feddyn", {"variant": "x"}, "variant='x': must be one of paper, released"),
        ("fedavg", {"aggregate": "x"}, "aggregate='x': must be one of mean, median, trimmed-mean"),
        ("fedavg", {"trim": 0.5}, "trim=0.5: must be from 0 to below 0.5"),
        ("fedavg", {"clip": 0.0}, "clip=0.0: must be above 0"),
        ("fedavg", {"noise": 1.0}, "noise=1.0: give clip too"),
        ("fedavg", {"noise": 1.0, "clip": 1.0, "aggregate": "median"}, "must be 'mean' where"),
        ("fedprox", {"noise": 1.0}, "noise=1.0: give clip too"),
        ("fedavg", {"weighting": "x"}, "weighting='x': must be one of samples, equal"),
        ("fedavg", {"weighting": "samples", "aggregate": "median"}, "must be 'equal' where aggr"),
        ("fedprox", {"weighting": "samples", "clip": 1.0, "noise": 1.0}, "where there is noise"),
        ("feddyn", {"clip": 1.0, "noise": 1.0}, "noise=1.0: cannot go with feddyn, whose server"),
        ("feddyn", {"aggregate": "median"}, "aggregate='median': cannot go with feddyn, whose"),
        ("feddyn", {"aggregate": "trimmed-mean"}, "aggregate='trimmed-mean': cannot go with feddy"),
        ("feddyn", {"weighting": "samples"}, "weighting='samples': cannot go with feddyn"),
        ("personal", {}, "give one of them"),
        ("personal", {"private": ["a"], "public": ["b"]}, "private='a', public='b': give one"),
    ],
)
def test_settings_out_of_range_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        federated.create(name, **settings)
