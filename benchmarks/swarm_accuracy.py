"""Accuracy of a swarm on real clips, beside its particles alone and one model trained alone.

    python -m benchmarks.swarm_accuracy STORE --features cnn-efficientnet-lite0:sequence

Every clip is tested once, by a model that was trained without its group. All have the same folds,
validation clips and epochs. The swarm's accuracy is that of the particle that validation chooses; a
model alone trains by SGD at 0.01 and keeps its best epoch on the validation clips. A cell is the
mean top-1 over seeds, with the lowest and the highest, and for swarms the median size of each term
relative to SGD's own step.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import kinestore as ks
from benchmarks.strategies import spread

LEFT_OUT = ks.EvaluationConfig(cv="group", validation=0.2)

SWARMS = {
    "individual": ks.SwarmConfig(individual=True),
    "dynamic 1, code": ks.SwarmConfig(dynamic=1),
    "dynamic 2, code": ks.SwarmConfig(dynamic=2),
    "dynamic 2, consensus": ks.SwarmConfig(dynamic=2, mode="consensus"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--features", default="cnn-efficientnet-lite0:sequence")
    parser.add_argument("--heads", nargs="+", default=["temporal_transformer", "temporal_rnn"])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    features = ks.Store(args.store).load([args.features])
    training = replace(ks.SWARM_TRAINING, epochs=args.epochs)
    for head in args.heads:
        with tempfile.TemporaryDirectory() as folder:
            alone = [
                ks.train(
                    features,
                    out=Path(folder) / f"alone-{seed}",
                    head=head,
                    evaluation=LEFT_OUT,
                    training=training,
                    seed=seed,
                ).top1
                for seed in args.seeds
            ]
            print(f"{head}, alone: {spread(alone)}", flush=True)
            for name, particles in SWARMS.items():
                runs = [
                    ks.swarm(
                        features,
                        out=Path(folder) / f"{particles.mode}-{particles.dynamic}-{seed}",
                        head=head,
                        particles=particles,
                        evaluation=LEFT_OUT,
                        training=training,
                        seed=seed,
                    )
                    for seed in args.seeds
                ]
                print(f"{head}, {name}: {spread([run.top1 for run in runs])}")
                for run in runs:
                    show_particles(run)


def show_particles(run: ks.RunSummary) -> None:
    """Print the accuracies of each particle over the folds, and its terms."""
    assert run.swarm is not None
    for one in run.swarm.particles:
        best = statistics.mean(one.best_on_test.values)
        terms = ", ".join(f"{name} {share:.2g}" for name, share in one.shares.items())
        print(
            f"    particle {one.particle}: {one.chosen.mean:.3f} chosen, {one.last.mean:.3f} last, "
            f"{best:.3f} best on test; {terms}",
            flush=True,
        )


if __name__ == "__main__":
    main()
