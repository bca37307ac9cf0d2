"""Benefit of a private part: the differential network, federated with and without one.

    python -m benchmarks.personalization [--seeds 0 1 2] [--rounds 100]

Twenty clients, four a round, one local epoch. Every client has its own camera: its
background's colors and waves are in all of its clips and in no other's (`pipeline.motion_dots`).
Clips show one of four directions; each client's mix of them is drawn from a Dirichlet distribution
with alpha 1. 70 % of a client's clips of each class are training clips; its model is tested on the
others, and a run's figure is the mean over clients, each counted once.

"personal" keeps the local module to each client (stem, res2 and the difference branch); "plain"
shares all. Both have the same first weights, clips, parts, draws of clients and seeds of batches,
so that the difference is paired, client by client.

The interval over seeds is Student's, for the mean of as many differences as there are seeds; that
over clients takes all clients of a seed as independent, which those that share a model are not
quite.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from kinestore import federated, heads
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.evaluation import HeldOut
from kinestore.federated.partition import client_dirichlet
from kinestore.federated.simulation import History, RoundsConfig, simulate_clients
from kinestore.heads import NETWORK_TRAINING
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.synthetic.moving_dots import TASKS, MotionDots
from kinestore.pipeline.training.config import CENTER_VIEW
from kinestore.pipeline.training.networks.clip_data import predict_clips
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples

CLIENTS, PER_ROUND, CLIPS_EACH, TESTED = 20, 4, 60, 0.3
SEGMENTS, FRAMES, SIDE = 4, 5, 64
CLASSES = TASKS["direction4"]
NET: dict[str, Any] = {
    "num_classes": len(CLASSES),
    "num_segments": SEGMENTS,
    "layers": (1, 1, 1, 1),
    "width": 16,
    "dropout": 0.0,
}
LOCAL = replace(
    NETWORK_TRAINING,
    epochs=1,
    batch_size=8,
    learning_rate=0.02,
    schedule="constant",
    device="cpu",
)
STRATEGIES = {
    "plain": federated.create("fedavg"),
    "personal": federated.create("personal", private=("local",)),
}


class Cameras:
    """The clips of all clients, in memory."""

    name, size, num_segments, length, num_changed = "cameras", (SIDE, SIDE), SEGMENTS, FRAMES, 0
    first_frames: int | None = None

    def __init__(self, parts: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], *, seed: int):
        self.clip_ids = [f"{row:032x}" for row in range(len(labels))]
        self._clips: dict[str, NDArray[np.uint8]] = {}
        for client, part in enumerate(parts):
            dots = MotionDots(num_frames=SEGMENTS * FRAMES, size=SIDE, seed=seed, client=client)
            for row in part.tolist():
                frames, _ = dots.clip(row, label=int(labels[row]))
                self._clips[self.clip_ids[row]] = frames.numpy()

    def training(self, clip_id: str, *, seed: int) -> NDArray[np.uint8]:
        """Yield all frames."""
        return self._clips[clip_id]

    def testing(self, clip_id: str, *, num_clips: int) -> NDArray[np.uint8]:
        """Yield all frames."""
        return np.stack([self._clips[clip_id]] * num_clips)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Each client's top-1 at the end, and the time of the run."""

    name: str
    seed: int
    top1: list[float]
    megabytes_up: float
    seconds: float

    @property
    def mean(self) -> float:
        """Over clients, each counted once."""
        return statistics.fmean(self.top1)


def run(name: str, seed: int, rounds: int) -> Outcome:
    """Train one federation, and test it at the end."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    labels = np.arange(CLIENTS * CLIPS_EACH) % len(CLASSES)
    parts = client_dirichlet(labels, CLIENTS, alpha=1.0, seed=seed)
    source = Cameras(parts, labels, seed=seed)
    samples = ClipSamples(
        source=source,
        clip_ids=source.clip_ids,
        labels=labels,
        flipped_class=np.array([CLASSES.index(MIRRORED.get(name, name)) for name in CLASSES]),
        size=SIDE * 7 // 8,
        in_segments=True,
        num_workers=1,
    )
    train_rows, tested = zip(*(halves(part, labels, seed=seed) for part in parts), strict=True)
    network = heads.create("differential", seed=seed, **NET)
    history = simulate_clients(
        network,
        [LocalSamples(samples=samples.subset(rows), config=LOCAL) for rows in train_rows],
        config=RoundsConfig(
            rounds=rounds, strategy=STRATEGIES[name], clients_per_round=PER_ROUND, seed=seed
        ),
    )
    return Outcome(
        name=name,
        seed=seed,
        top1=score(network, history, samples, tested),
        megabytes_up=sum(record.bytes_up for record in history.rounds) / 1e6,
        seconds=time.perf_counter() - started,
    )


MIRRORED = {"left": "right", "right": "left"}


def halves(
    part: NDArray[np.int64], labels: NDArray[np.int64], *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a client's clips into training and test clips, 7 to 3 within each class."""
    rng = np.random.default_rng(derive_seed("halves", seed, int(part[0])))
    train_rows, tested = [], []
    for label in range(len(CLASSES)):
        mine = rng.permutation(part[labels[part] == label])
        count = round(TESTED * len(mine))
        tested.append(mine[:count])
        train_rows.append(mine[count:])
    return np.concatenate(train_rows), np.concatenate(tested)


def score(
    network: torch.nn.Module,
    history: History,
    samples: ClipSamples,
    tested: Sequence[NDArray[np.int64]],
) -> list[float]:
    """Each client's top-1 by the model that it uses."""

    def predict(model: torch.nn.Module, rows: NDArray[np.int64]) -> torch.Tensor:
        return predict_clips(
            model,
            samples,
            rows,
            num_classes=len(CLASSES),
            views=CENTER_VIEW,
            training=LOCAL,
            processes=ONE_PROCESS,
        )

    held_out = HeldOut(labels=torch.from_numpy(samples.labels), predict=predict, parts=tested)
    scores = held_out.score_clients(network, history.state, history.private, num_clients=CLIENTS)
    return [one.top1 / one.num_clips for one in scores.clients]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval of the mean."""
    mean, error = statistics.fmean(differences), stats.sem(differences)
    half = float(stats.t.ppf(0.975, len(differences) - 1) * error)
    return mean - half, mean + half


def show(outcomes: Sequence[Outcome]) -> None:
    by_seed: dict[int, dict[str, Outcome]] = {}
    for outcome in outcomes:
        by_seed.setdefault(outcome.seed, {})[outcome.name] = outcome
    print("| seed | plain | personal | difference, 95% over clients | up | down | equal | s |")
    print("|---|---|---|---|---|---|---|---|")
    means = []
    for seed, pair in sorted(by_seed.items()):
        plain, personal = pair["plain"], pair["personal"]
        each = [b - a for a, b in zip(plain.top1, personal.top1, strict=True)]
        low, high = interval(each)
        signs = [sum(np.sign(each) == sign) for sign in (1, -1, 0)]
        means.append(statistics.fmean(each))
        print(
            f"| {seed} | {plain.mean:.3f} | {personal.mean:.3f} | {means[-1]:+.3f} "
            f"({low:+.3f} to {high:+.3f}) | {' | '.join(map(str, signs))} "
            f"| {plain.seconds:.0f}, {personal.seconds:.0f} |"
        )
    if len(means) > 1:
        low, high = interval(means)
        print(f"\nover seeds: {statistics.fmean(means):+.3f} ({low:+.3f} to {high:+.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    runs = [(name, seed, options.rounds) for seed in options.seeds for name in STRATEGIES]
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fresh) as pool:
        outcomes = list(pool.map(run, *zip(*runs, strict=True)))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    show(outcomes)


if __name__ == "__main__":
    main()
