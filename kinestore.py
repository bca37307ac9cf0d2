"""Kinestore: a feature store for video action recognition.

The command line's root, and the public Python names: `import kinestore as ks`. Names and commands
import what they need when they are used, so that `kinestore --help` answers at once.
"""

import importlib
import importlib.metadata
import json
import logging
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.console import (
    demo_table,
    failures_table,
    progress,
    run_table,
    say,
    say_summary,
    status_table,
    verify_table,
    weights_table,
)
from pipeline.interrupts import end_now, interrupts_held
from store.errors import KinestoreError, UsageError
from store.place import as_path, local_path

if TYPE_CHECKING:
    from federated.simulation import simulate
    from pipeline.decode import decode_frames, probe
    from pipeline.extract import extract
    from pipeline.federate import federate
    from pipeline.keyframes import select_keyframes
    from pipeline.train import train
    from pipeline.umap import umap
    from store import Store

__all__ = [
    "Store",
    "decode_frames",
    "extract",
    "federate",
    "probe",
    "select_keyframes",
    "simulate",
    "train",
    "umap",
]

_HOMES = {
    "Store": "store",
    "decode_frames": "pipeline.decode",
    "extract": "pipeline.extract",
    "federate": "pipeline.federate",
    "probe": "pipeline.decode",
    "select_keyframes": "pipeline.keyframes",
    "simulate": "federated.simulation",
    "train": "pipeline.train",
    "umap": "pipeline.umap",
}

SOME_INPUTS_FAILED = 3


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinestore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


app = typer.Typer(
    name="kinestore",
    help="A feature store for video action recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="The store's folder; also s3:// or gs://.")
]
FeaturesOption = Annotated[
    str, typer.Option("--features", metavar="A[,B]", help="Views as VIEW or VIEW:POOL.")
]
RunOption = Annotated[
    Path, typer.Option("--out", metavar="RUN", parser=local_path, help="The run folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value instead.")]
HeadOption = Annotated[
    str, typer.Option(help="mlp, mlp:hidden=1024-512, temporal_rnn:cell=lstm, ...; see docs.")
]
SplitOption = Annotated[
    str | None, typer.Option(metavar="column", help="Fit on split 'train', score 'test'.")
]
CvOption = Annotated[
    str | None, typer.Option(metavar="group", help="Leave one group out at a time.")
]
FoldsOption = Annotated[int | None, typer.Option(help="Stratified folds.")]
EpochsOption = Annotated[int, typer.Option(help="Passes over the training clips.")]
BatchSizeOption = Annotated[int, typer.Option(help="Clips a step.")]
LearningRateOption = Annotated[float, typer.Option(help="Adam's step size.")]
WeightDecayOption = Annotated[float, typer.Option(help="Adam's L2 penalty.")]
KeyframesOption = Annotated[int, typer.Option(help="Frames chosen of a clip.")]
KeyframeSpaceOption = Annotated[str, typer.Option(help="Clustered by: luma or cnn.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn at random.")]


def _say_version(asked: bool) -> None:
    if asked:
        say(f"kinestore {importlib.metadata.version('kinestore')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Which it is.")
    ] = False,
) -> None:
    """A feature store for video action recognition."""


@app.command("demo")
def demo_command(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("kinestore-demo"),
) -> None:
    """Make small motion clips and go the whole way, on the CPU, with no download."""
    from pipeline.demo import demo

    with progress() as tell:
        steps = demo(folder, on_progress=tell)
    say(demo_table(folder, steps))
    say(f"Look at {folder / 'umap.html'} in a browser.")


@app.command("extract")
def extract_command(
    videos: Annotated[str, typer.Argument(metavar="VIDEOS", help="A folder, manifest or video.")],
    store: Annotated[str, typer.Option(help="The store's folder; made if absent.")],
    extractor: Annotated[list[str], typer.Option("-e", "--extractor", help="May be repeated.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="In the place of the publisher's; repeatable."),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(help="keyframes or uniform; each extractor's own way if unset."),
    ] = None,
    keyframes: KeyframesOption = 8,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="A text a line, for clip-text; of the labels if unset.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes; one a core if unset.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running Dask cluster's scheduler.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many inputs.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try failed inputs again.")] = False,
    clip_timeout: Annotated[float, typer.Option(help="Seconds that a clip may take.")] = 600,
    as_json: JsonOption = False,
) -> None:
    """Compute the embeddings that the store lacks."""
    target = as_path(store)
    try:
        with interrupts_held():  # half-imported libraries answer Ctrl-C in many ways
            from extractors import FrameChoice
            from pipeline.extract import extract
            from pipeline.planned import read_weights
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # of connections cut

        frames = FrameChoice(
            kind=sampling, num_keyframes=keyframes, space=keyframe_space, seed=seed
        )
        with progress() as tell:
            summary = extract(
                videos,
                store=target,
                extractors=extractor,
                weights=read_weights(weights or [], extractor),
                frames=frames,
                prompts=prompts,
                device=device,
                workers=workers,
                scheduler=scheduler,
                limit=limit,
                retry_failed=retry_failed,
                clip_timeout_s=clip_timeout,
                on_progress=tell,
            )
    except KeyboardInterrupt:
        raise KinestoreError(
            f"stopped; what was done is kept in {target}: the same command again goes on from there"
        ) from None
    if as_json:
        say(json.dumps(asdict(summary)))
    else:
        say_summary(summary, target)
    if summary.failed:
        raise typer.Exit(SOME_INPUTS_FAILED)


@app.command("status")
def status_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Say what a store holds."""
    from pipeline.status import status

    found = status(store)
    say(json.dumps(found) if as_json else status_table(found))


@app.command("failures")
def failures_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """List the inputs that could not be done, and why."""
    from store import Store

    failures = Store(store).failures()
    if as_json:
        say(json.dumps([asdict(failure) for failure in failures]))
    else:
        say(failures_table(failures))


@app.command("sql")
def sql_command(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(metavar="SELECT", help="SHOW TABLES lists them.")],
    as_json: JsonOption = False,
) -> None:
    """Ask a store in SQL: its clips, views, captions and failures are tables."""
    from pipeline.query import answer_json, answer_table
    from store import Store

    answer = Store(store).sql(query)
    say(answer_json(answer) if as_json else answer_table(answer))


@app.command("verify")
def verify_command(
    store: StoreArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Drop what is broken.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every part of a store; the same extract fills in what a repair dropped."""
    from store.verify import verify

    with progress() as tell:
        report = verify(store, repair=repair, on_progress=partial(tell, "checking parts"))
    say(json.dumps(asdict(report)) if as_json else verify_table(report, store))
    if not report.sound:
        raise typer.Exit(1)


@app.command("snapshot")
def snapshot_command(
    store: StoreArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '-'.")],
) -> None:
    """Pin the parts that a store has now: Store(STORE, snapshot=NAME) reads exactly those."""
    from store import Store

    with progress() as tell:
        taken = Store(store).take_snapshot(name, on_progress=partial(tell, "hashing parts"))
    say(f"Snapshot {name} pins {len(taken.parts)} parts.")


@app.command("export")
def export_command(
    store: StoreArgument,
    features: FeaturesOption,
    to: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="A .parquet, .h5 or .npz file.")
    ],
) -> None:
    """Write joined features to one file for other programs."""
    from pipeline.export import export
    from store import Store

    loaded = Store(store).load(features.split(","))
    path = export(loaded, out=to)
    say(f"{len(loaded.clip_ids)} clips exported to {path}; {len(loaded.missing)} lack a feature.")


@app.command("keyframes")
def keyframes_command(
    video: Annotated[Path, typer.Argument(metavar="VIDEO")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="A .png, .pdf or .svg file.")
    ],
    keyframes: KeyframesOption = 8,
    keyframe_space: KeyframeSpaceOption = "luma",
    seed: SeedOption = 0,
) -> None:
    """Draw a contact sheet of a video's keyframes."""
    from pipeline.contact_sheet import contact_sheet

    chosen = contact_sheet(video, out=out, num_keyframes=keyframes, space=keyframe_space, seed=seed)
    say(f"Frames {', '.join(map(str, chosen))} drawn in {out}")


weights_app = typer.Typer(no_args_is_help=True, help="The weights that extractors load.")
app.add_typer(weights_app, name="weights")
NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME...", help="Extractors.")]


@weights_app.command("list")
def weights_list_command(as_json: JsonOption = False) -> None:
    """List each extractor's weights: where they come from, and whether they are here."""
    from pipeline.weights import list_weights

    found = list_weights()
    say(json.dumps([asdict(kept) for kept in found]) if as_json else weights_table(found))


@weights_app.command("fetch")
def weights_fetch_command(names: NamesArgument) -> None:
    """Download what is not here yet."""
    from pipeline.weights import fetch_weights

    for kept in fetch_weights(names):
        say(f"{kept.extractor}: {kept.path}")


@weights_app.command("verify")
def weights_verify_command(as_json: JsonOption = False) -> None:
    """Hash the weights that are here, and compare where the publisher tells a hash."""
    from pipeline.weights import verify_weights

    with progress() as tell:
        checked = verify_weights(on_progress=partial(tell, "hashing weights"))
    say(json.dumps([asdict(kept) for kept in checked]) if as_json else weights_table(checked))
    if any(kept.state == "damaged" for kept in checked):
        raise typer.Exit(1)


@app.command("train")
def train_command(
    store: StoreArgument,
    features: FeaturesOption,
    out: RunOption,
    head: HeadOption = "mlp",
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the fitted clips, held to choose the best epoch."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(metavar="balanced", help="Let each class count the same.")
    ] = None,
    epochs: EpochsOption = 40,
    batch_size: BatchSizeOption = 32,
    learning_rate: LearningRateOption = 1e-3,
    weight_decay: WeightDecayOption = 1e-2,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a head on stored features and score it on clips that it has not seen."""
    from heads import FitSettings
    from pipeline.train import train
    from store import Store

    settings = FitSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    loaded = Store(store).load(features.split(","))
    with progress() as tell:
        summary = train(
            loaded,
            out=out,
            head=head,
            split=split,
            cv=cv,
            folds=folds,
            validation=validation,
            patience=patience,
            class_weights=class_weights,
            settings=settings,
            seed=seed,
            on_progress=partial(tell, "training"),
        )
    say(json.dumps(summary) if as_json else run_table(summary, out))


@app.command("federate")
def federate_command(
    store: StoreArgument,
    features: FeaturesOption,
    out: RunOption,
    head: HeadOption = "mlp",
    strategy: Annotated[
        str, typer.Option(help="fedavg, fedprox:mu=0.1, feddyn, personal:private=0, ...; see docs.")
    ] = "fedavg",
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of communication.")] = 80,
    local_epochs: EpochsOption = 5,
    partition: Annotated[
        str, typer.Option(help="iid, group, dirichlet:0.6, classes:2, ...; see docs.")
    ] = "iid",
    sample: Annotated[int | None, typer.Option(help="Clients a round; all if unset.")] = None,
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    batch_size: BatchSizeOption = 128,
    learning_rate: LearningRateOption = 1e-3,
    weight_decay: WeightDecayOption = 1e-4,
    seed: SeedOption = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train one head over clients that keep their clips to themselves."""
    from heads import FitSettings
    from pipeline.federate import federate
    from store import Store

    settings = FitSettings(
        epochs=local_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    loaded = Store(store).load(features.split(","))
    with progress() as tell:
        summary = federate(
            loaded,
            out=out,
            head=head,
            strategy=strategy,
            clients=clients,
            rounds=rounds,
            partition=partition,
            sample=sample,
            split=split,
            cv=cv,
            folds=folds,
            settings=settings,
            seed=seed,
            checkpoint_every=checkpoint_every,
            resume=resume,
            on_progress=partial(tell, "rounds"),
        )
    say(json.dumps(summary) if as_json else run_table(summary, out))


@app.command("umap")
def umap_command(
    store: StoreArgument,
    features: Annotated[
        list[str],
        typer.Option(metavar="A[,B]", help="Views as VIEW or VIEW:POOL; once for each panel."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=local_path, help="A .png, .svg, .pdf or .html file."),
    ],
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Only these labels.")] = None,
    color: Annotated[str, typer.Option(help="label, group or split.")] = "label",
    seed: SeedOption = 0,
    fast: Annotated[bool, typer.Option("--fast", help="All cores, no seed of the layout.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the clips on a plane, near where their embeddings are near."""
    from pipeline.umap import draw_umap
    from store import Store

    chosen = classes.split(",") if classes else None
    loaded = [Store(store).load(one.split(","), labels=chosen) for one in features]
    drawn = draw_umap(loaded, color=color, seed=seed, fast=fast, out=out)
    lacking = f"; {drawn.num_left_out} lack a view and are left out" if drawn.num_left_out else ""
    told = f"{drawn.num_clips} clips drawn in {out}{lacking}"
    say(json.dumps(asdict(drawn), default=str) if as_json else told)


def main() -> None:
    """Run the command line; a person's mistake gives one sentence and no traceback."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Dask's connections that Ctrl-C cut
    try:
        app()
    except KeyboardInterrupt:
        end_now("kinestore: stopped; run the same command again to go on")
    except (KinestoreError, OSError) as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            end_now(f"kinestore: {error}")
        print(f"kinestore: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: let Python end in peace


if __name__ == "__main__":
    main()
