"""The full pipeline in a minute: generate clips, extract, train, federate, plot."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.projection import umap
from kinestore.pipeline.report import report
from kinestore.pipeline.synthetic.motion_videos import make_clips
from kinestore.pipeline.training.config import EvaluationConfig, FederationConfig
from kinestore.pipeline.training.federated.federate import federate
from kinestore.pipeline.training.train import train
from kinestore.progress import Progress, no_progress
from kinestore.store import Store

MOTION = "motion"
FRAMES = "cnn-efficientnet-lite0"
NUM_CLIPS = 60
NUM_CLIENTS = 4
NUM_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class DemoStep:
    """One finished step of the demo.

    Attributes:
        name: The step in a few words.
        seconds: Its duration.
        top1: Accuracy on the test clips; None of a step that trains nothing.
        output: The file or folder that it wrote.
    """

    name: str
    seconds: float
    top1: float | None
    output: Path


def demo(folder: Path, *, progress: Progress | None = None) -> list[DemoStep]:
    """Run the full pipeline in a folder; outputs of an earlier demo are used again.

    The classes of the clips differ by motion alone. So the motion features should predict them,
    and the mean features of single frames should be at chance level, which is 1/6.

    Args:
        folder: Folder for all outputs; made if absent.
        progress: Called as each step advances.
    """
    progress = progress or no_progress
    manifest, store = folder / "clips" / "labels.csv", folder / "store"
    runs = folder / "runs"
    steps: list[DemoStep] = []

    def step(name: str, run: Callable[[], float | None], output: Path) -> None:
        started = time.perf_counter()
        top1 = run()
        seconds = round(time.perf_counter() - started, 1)
        steps.append(DemoStep(name=name, seconds=seconds, top1=top1, output=output))

    def make() -> None:
        if not manifest.exists():
            made: list[Path] = []

            def on_clip(path: Path) -> None:
                made.append(path)
                progress("making clips", len(made), NUM_CLIPS)

            make_clips(manifest.parent, num_clips=NUM_CLIPS, on_clip=on_clip)

    def fill() -> None:
        extract(manifest, store=store, extractors=[FRAMES, MOTION], progress=progress)

    def central(features: str, out: Path) -> float:
        def on_epoch(stage: str, done: int, total: int, note: str = "") -> None:
            progress(f"training on {features}", done, total, note)

        evaluation = EvaluationConfig(split="column")
        loaded = Store(store).load(features)
        return train(loaded, out=out, evaluation=evaluation, progress=on_epoch).top1

    def together(out: Path) -> float:
        federation = FederationConfig(num_clients=NUM_CLIENTS, rounds=NUM_ROUNDS)
        loaded = Store(store).load(MOTION)
        return federate(loaded, out=out, federation=federation, progress=progress).top1

    def draw(out: Path) -> None:
        progress(f"drawing {out.name}", 0, 1)
        opened = Store(store)
        umap(opened.load(MOTION), store=opened, run=runs / "federated", out=out)
        progress(f"drawing {out.name}", 1, 1)

    def write_page(run: Path, out: Path) -> None:
        report(run, out=out, store=store)

    step(f"generate {NUM_CLIPS} clips, 6 motion classes", make, manifest)
    step("extract appearance and motion features", fill, store)
    step(
        "train on appearance features",
        partial(central, f"{FRAMES}:mean", runs / "frames"),
        runs / "frames",
    )
    step("train on motion features", partial(central, MOTION, runs / "motion"), runs / "motion")
    step(
        f"train on motion features, {NUM_CLIENTS} clients",
        partial(together, runs / "federated"),
        runs / "federated",
    )
    for name, output in (
        ("draw UMAP of motion features", folder / "umap.png"),
        ("write the explorer page", folder / "umap.html"),
    ):
        step(name, partial(draw, output), output)
    page = folder / "report.html"
    step("write a report of the appearance run", partial(write_page, runs / "frames", page), page)
    return steps
