"""Dynamics of a swarm, against the arithmetic of its equations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.training.swarm import dynamics
from kinestore.pipeline.training.swarm.config import SwarmConfig
from kinestore.pipeline.training.swarm.dynamics import (
    Exchange,
    Swarm,
    TensorsInMemory,
    distances,
    measured_at,
    neighborhoods,
)
from kinestore.store import UsageError

Weights = dict[str, Tensor]

FORMS = [(1, "paper"), (1, "code"), (1, "consensus"), (2, "paper"), (2, "code"), (2, "consensus")]
WITH_OWN_STEP = [form for form in FORMS if form != (2, "paper")]

STILL: dict[str, Any] = {"matrix": [[0.0] * 4] * 4, "c2": 0.0}
"""No exchange: M = 0 and c = 0."""


def scalars(*values: float) -> list[Weights]:
    return [{"w": torch.tensor([value], dtype=torch.float64)} for value in values]


def exchange(
    config: SwarmConfig,
    starts: list[Weights],
    after: list[Weights],
    bests: list[Weights] | None = None,
    *,
    fitness: tuple[float, ...] = (),
    rates: tuple[float, ...] = (),
    r: float = 0.0,
) -> tuple[list[Weights], NDArray[np.float64]]:
    """Move all particles; return their next positions and the norms of the terms."""
    count = len(starts)
    memory = [[TensorsInMemory(one) for one in each] for each in (starts, after, bests or after)]
    swarm = Swarm(
        starts=memory[0],
        after=memory[1],
        bests=memory[2],
        fitness=fitness or (0.0,) * count,
        rates=rates or (0.01,) * count,
    )
    sizes = {name: tensor.numel() for name, tensor in after[0].items()}
    found = Exchange(swarm, distances(measured_at(swarm, config), sizes), r=r, config=config)
    moved = [{name: torch.empty_like(t) for name, t in one.items()} for one in after]
    for name, part, values in found.moved(sizes):
        for one, value in zip(moved, values, strict=True):
            one[name].view(-1)[part] = value.to(one[name].dtype)
    return moved, found.norms


def two(**changes: Any) -> SwarmConfig:
    return SwarmConfig(**{"particles": 2, "matrix": [[1, 0.2], [0.2, 1]], **changes})


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        # .5 + .2 / 1.3 * (.8 - 1) + .5 * .4 * (.8 - .5)
        (two(dynamic=1), 0.529231),
        # ... + .2 / 1.3 * .01 * .8
        (two(dynamic=2), 0.530462),
        # ... + .2 / 1.3 * .01 * (.8 - .5)
        (two(dynamic=2, mode="consensus"), 0.529692),
        # 0 + .5 + .2 / (1 + 1) * (.8 - 1) + .5 * .4 * (0 - .5) + .5 * .4 * (.8 - .5)
        (two(dynamic=1, mode="paper"), 0.44),
    ],
)
def test_the_first_of_two_particles_moves_as_worked_out_by_hand(
    config: SwarmConfig, wanted: float
) -> None:
    bests = scalars(0.0, 0.8)
    moved, _ = exchange(config, scalars(0, 1), scalars(0.5, 0.8), bests, fitness=(0.1, 0.2), r=0.4)
    assert float(moved[0]["w"]) == pytest.approx(wanted, abs=5e-7)


def test_dynamic_2_as_printed_moves_as_worked_out_by_hand() -> None:
    config = two(dynamic=2, mode="paper")
    starts, after = scalars(0.5, 0.8), scalars(0.9, 0.8 - 0.2)  # a gradient of .2
    moved, _ = exchange(config, starts, after, scalars(0, 0.8), fitness=(0, 1), r=0.4)
    # .5 + .2 / (1 + .3 ** 2) * (.8 - .2) + .5 * .4 * (.8 - .5)
    assert float(moved[0]["w"]) == pytest.approx(0.670092, abs=5e-7)


def random_swarm(seed: int, count: int = 4) -> tuple[list[Weights], list[Weights]]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"a": (3, 5), "b": (7,)}
    starts = [{n: torch.randn(s, generator=rng) for n, s in shapes.items()} for _ in range(count)]
    after = [
        {n: t + 0.1 * torch.randn(t.shape, generator=rng) for n, t in one.items()} for one in starts
    ]
    after[0]["b"][0] = -0.0
    return starts, after


def bits(weights: Weights) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in weights.values())


@pytest.mark.parametrize(("dynamic", "mode"), WITH_OWN_STEP)
def test_without_weights_every_form_is_sgd_alone_bit_for_bit(dynamic: int, mode: str) -> None:
    starts, after = random_swarm(0)
    config = SwarmConfig(
        dynamic=dynamic, mode=mode, **STILL, c1=0 if (dynamic, mode) == (1, "paper") else None
    )
    moved, _ = exchange(config, starts, after, r=0.7)
    assert [bits(one) for one in moved] == [bits(one) for one in after]


def test_without_weights_dynamic_2_as_printed_stands_still() -> None:
    starts, after = random_swarm(1)
    moved, _ = exchange(SwarmConfig(dynamic=2, mode="paper", **STILL), starts, after, r=0.7)
    assert [bits(one) for one in moved] == [bits(one) for one in starts]


@pytest.mark.parametrize(("dynamic", "mode"), FORMS)
def test_blocks_of_any_size_give_the_same_positions(
    dynamic: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, after = random_swarm(2)
    config = SwarmConfig(dynamic=dynamic, mode=mode)
    whole, norms = exchange(config, starts, after, r=0.3)
    monkeypatch.setattr(dynamics, "VALUES_AT_A_TIME", 4)
    divided, divided_norms = exchange(config, starts, after, r=0.3)
    for one, other in zip(whole, divided, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(norms, divided_norms, rtol=1e-6)


def reference(
    config: SwarmConfig, starts: list[Weights], after: list[Weights], r: float
) -> list[Tensor]:
    """Dynamic 2 of the released code over whole vectors."""
    x, phi = (
        torch.stack([torch.cat([t.flatten() for t in one.values()]) for one in each]).double()
        for each in (starts, after)
    )
    moved = []
    for i in range(len(x)):
        value = phi[i] + config.c2 * r * (phi[2] - phi[i])
        for j in range(len(x)):
            if j != i:
                pull = 10 if j == 3 else 0.2
                kernel = pull / (1 + torch.dist(phi[i], phi[j]))
                value = value + kernel * (phi[j] - x[j] + 0.01 * phi[j])
        moved.append(value.float())
    return moved


def test_four_particles_move_as_the_released_code_has_it() -> None:
    starts, after = random_swarm(3)
    config = SwarmConfig(dynamic=2)
    moved, norms = exchange(config, starts, after, fitness=(0.1, 0.2, 0.9, 0.3), r=0.6)
    for one, wanted in zip(moved, reference(config, starts, after, 0.6), strict=True):
        flat = torch.cat([tensor.flatten() for tensor in one.values()])
        torch.testing.assert_close(flat, wanted, rtol=1e-6, atol=1e-6)
    steps = [
        torch.cat([(b[n] - a[n]).flatten() for n in a]).norm()
        for a, b in zip(starts, after, strict=True)
    ]
    np.testing.assert_allclose(norms[:, 0], steps, rtol=1e-5)
    assert norms[2, 3] == 0  # the best particle is not pulled
    assert (norms[[0, 1, 3], 3] > 0).all()


def test_identical_particles_of_the_consensus_form_add_the_steps_of_all() -> None:
    starts, after = random_swarm(4, count=1)
    config = SwarmConfig(dynamic=2, mode="consensus")
    moved, _ = exchange(config, starts * 4, after * 4, r=0)
    for own, weights in enumerate(moved):
        factor = 1 + (10.4 if own < 3 else 0.6)  # .2 + .2 + 10, or three times .2
        for name, tensor in weights.items():
            wanted = starts[0][name] + factor * (after[0][name] - starts[0][name])
            torch.testing.assert_close(tensor, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["code", "paper", "consensus"])
def test_only_the_forms_without_absolute_positions_move_with_the_origin(mode: str) -> None:
    starts, after = random_swarm(5)
    shifted = [[{n: t + 100 for n, t in one.items()} for one in each] for each in (starts, after)]
    config = SwarmConfig(dynamic=2, mode=mode)
    moved, _ = exchange(config, starts, after, r=0.5)
    beside, _ = exchange(config, shifted[0], shifted[1], r=0.5)
    off = max(
        float((b["a"] - a["a"] - 100).abs().max()) for a, b in zip(moved, beside, strict=True)
    )
    assert (off < 1e-3) == (mode == "consensus")


def test_a_neighborhood_is_the_nearest_others_and_itself() -> None:
    config = SwarmConfig(particles=3, neighbors=1, c2=0.5)
    assert neighborhoods(
        distances([TensorsInMemory(w) for w in scalars(0, 1, 5)], {"w": 1}), 1
    ) == [
        [1],
        [0],
        [1],
    ]
    starts, after = scalars(0, 1, 5), scalars(0, 1, 5)
    moved, norms = exchange(config, starts, after, fitness=(0.1, 0.2, 0.9), r=1.0)
    # The first is pulled half the way to its neighbor, the third is its own best.
    assert [float(one["w"]) for one in moved] == [0.5, 1.0, 5.0]
    assert norms[:, 3].tolist() == [0.5, 0, 0]


def test_of_particles_equally_far_the_first_is_the_neighbor() -> None:
    assert neighborhoods(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]]), 1) == [[1], [0], [0]]


def test_a_variance_never_falls_below_zero() -> None:
    after = [{"norm.running_var": torch.tensor([v])} for v in (0.1, 4.0)]
    starts = [{"norm.running_var": torch.tensor([v])} for v in (0.1, 9.0)]
    config = two(dynamic=1, matrix=[[0, 50], [0, 0]])
    moved, _ = exchange(config, starts, after)
    assert float(moved[0]["norm.running_var"]) == 0  # .1 + 50 / 4.9 * -5 is far below


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"particles": 1}, "particles=1: must be 2 or more"),
        ({"neighbors": 4}, "neighbors=4: must be from 1 to 3, the number of other particles of 4"),
        ({"neighbors": 0}, "neighbors=0: must be from 1 to 3"),
        ({"matrix": [[0, 1], [1, 0]]}, "matrix: is 2 x 2, and must be 4 x 4 for 4 particles"),
        ({"matrix": [[0, 1], [1, 0], [1], [2]]}, "matrix: is 4 x 1/2, and must be 4 x 4"),
        ({"matrix": [[np.nan] * 4] * 4}, "matrix: has NaN or infinity"),
        ({"dynamic": 3}, "dynamic=3: must be 1 or 2"),
        ({"mode": "papers"}, "mode='papers': must be paper or code or consensus"),
        ({"fitness": "f1"}, "fitness='f1': must be accuracy or loss"),
        ({"c1": 0.5}, "c1=0.5: only mode='paper' of dynamic=1 has this term"),
        ({"c2": -1}, "c2=-1: must be 0 or more and finite"),
        ({"beta": float("inf")}, "beta=inf: must be 0 or more and finite"),
        ({"learning_rates": [0.1]}, "learning_rates: 1 were given for 4 particles"),
        ({"learning_rates": [0.1, 0, 1, 1]}, "learning_rates: 0 of particle 2 must be above 0"),
        ({"learning_rates": [0.1, (1.0, 0.1), 1, 1]}, "learning_rates: 1:0.1 of particle 2"),
    ],
)
def test_a_setting_that_no_swarm_has_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        SwarmConfig(**settings)
    assert str(refused.value).startswith(sentence)


def bowl(w: Tensor) -> Tensor:
    return (w**2).sum()


def rastrigin(w: Tensor) -> Tensor:
    return (w**2 + 2 * (1 - torch.cos(3 * w))).sum()


def lowest(loss: Callable[[Tensor], Tensor], config: SwarmConfig, seed: int) -> float:
    """Return the lowest loss that four particles reach in 20 epochs of one step."""
    rng = np.random.default_rng(seed)
    points = [torch.from_numpy(rng.uniform(-4, 4, 3)) for _ in range(4)]
    bests, fitness = [point.clone() for point in points], [-float(loss(p)) for p in points]
    for epoch in range(20):
        wild = float(10 ** rng.uniform(-5, -1))
        rates, after = (0.03, 0.003, 0.0003, wild), []
        for point, rate in zip(points, rates, strict=True):
            moving = point.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(moving), moving)
            after.append(point - rate * gradient)
        for own, point in enumerate(after):
            if -float(loss(point)) > fitness[own]:
                bests[own], fitness[own] = point.clone(), -float(loss(point))
        r = float(rng.uniform())
        if config.exchanges(epoch + 1):
            named = [[{"w": point} for point in each] for each in (points, after, bests)]
            moved, _ = exchange(config, *named, fitness=tuple(fitness), rates=rates, r=r)
            after = [one["w"] for one in moved]
        points = after
    return -max(fitness)


@pytest.mark.parametrize("loss", [bowl, rastrigin])
@pytest.mark.parametrize("dynamic", [1, 2])
def test_a_swarm_reaches_a_lower_loss_than_its_best_particle_alone_over_20_seeds(
    loss: Callable[[Tensor], Tensor], dynamic: int
) -> None:
    together = SwarmConfig(dynamic=dynamic, mode="consensus")
    alone = replace(together, individual=True)
    pairs = [(lowest(loss, together, seed), lowest(loss, alone, seed)) for seed in range(20)]
    gains = np.array([single - swarm for swarm, single in pairs])
    assert gains.mean() > 0
    assert (gains >= 0).mean() >= 0.8
