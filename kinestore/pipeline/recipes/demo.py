"""The whole way in a minute: make clips, extract, train, federate, look."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.progress import Progress, no_progress
from kinestore.pipeline.projection import umap
from kinestore.pipeline.report import report
from kinestore.pipeline.synthetic.motion_videos import make_clips
from kinestore.pipeline.training.federated.federate_head import federate
from kinestore.pipeline.training.train_head import train
from kinestore.store import Store

MOTION = "motion"
FRAMES = "cnn-efficientnet-lite0"
NUM_CLIPS = 60
NUM_CLIENTS = 4
NUM_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that the demo did.

    Attributes:
        what: In a few words.
        seconds: How long it took.
        top1: Fraction of unseen clips named rightly, where something was trained.
        where: What it left behind.
    """

    what: str
    seconds: float
    top1: float | None
    where: Path


def demo(folder: Path, *, progress: Progress | None = None) -> list[Step]:
    """Go the whole way in a folder; what an earlier demo left there is used again.

    The classes of the clips differ by motion alone, so the motion descriptors should name them and
    the mean look of single frames should do no better than chance, which is one in six.

    Args:
        folder: Where everything goes; made if absent.
        progress: Called as each step goes on.
    """
    progress = progress or no_progress
    manifest, store = folder / "clips" / "labels.csv", folder / "store"
    runs = folder / "runs"
    steps: list[Step] = []

    def step(what: str, do: Callable[[], float | None], where: Path) -> None:
        started = time.perf_counter()
        top1 = do()
        seconds = round(time.perf_counter() - started, 1)
        steps.append(Step(what=what, seconds=seconds, top1=top1, where=where))

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
        loaded = Store(store).load(features)
        on_epoch = partial(progress, f"training on {features}")
        return float(train(loaded, out=out, split="column", on_progress=on_epoch)["top1"])

    def together(out: Path) -> float:
        summary = federate(
            Store(store).load(MOTION),
            out=out,
            clients=NUM_CLIENTS,
            rounds=NUM_ROUNDS,
            on_progress=partial(progress, "federating"),
        )
        return float(summary["top1"])

    def draw(out: Path) -> None:
        progress(f"drawing {out.name}", 0, 1)
        opened = Store(store)
        umap(opened.load(MOTION), store=opened, run=runs / "federated", out=out)
        progress(f"drawing {out.name}", 1, 1)

    def tell_of(run: Path, out: Path) -> None:
        report(run, out=out, store=store)

    step(f"{NUM_CLIPS} clips, 6 classes of motion", make, manifest)
    step("embeddings of both kinds", fill, store)
    step(
        "a head on how frames look",
        partial(central, f"{FRAMES}:mean", runs / "frames"),
        runs / "frames",
    )
    step("a head on motion", partial(central, MOTION, runs / "motion"), runs / "motion")
    step(
        f"the same, {NUM_CLIENTS} clients federated",
        partial(together, runs / "federated"),
        runs / "federated",
    )
    for name in ("umap.png", "umap.html"):
        step(f"motion drawn as {name}", partial(draw, folder / name), folder / name)
    page = folder / "report.html"
    step("the run on looks, told", partial(tell_of, runs / "frames", page), page)
    return steps
