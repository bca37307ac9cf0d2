"""The commands that use the model of a finished run: `kinestore evaluate` and `predict`."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from kinestore.pipeline.commands.console import progress, say, say_json, text_table
from kinestore.pipeline.commands.data_options import ColumnOptions
from kinestore.pipeline.commands.extract import SOME_INPUTS_FAILED
from kinestore.pipeline.commands.option_groups import Group, takes_groups
from kinestore.pipeline.commands.options import JsonOption, StoreArgument
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.pipeline.extraction.result import ExtractionResult
    from kinestore.pipeline.models import Evaluation
    from kinestore.pipeline.models.clip_logits import ModelInput
    from kinestore.store import Failure

RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", parser=local_path, help="Folder of a finished run, such as runs/first."
    ),
]
ClientOption = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Use the own model of this client, where a federated run has private parts. "
        "[default: evaluate takes each test clip's own client, predict the common model]",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TestOptions(Group):
    """Options of which clips are tested, and by which views of a video."""

    split: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Test only clips that this column marks for testing: column for the split column, "
            "or one of your own, such as split_2. [default: all clips that the run was not trained "
            "on]",
        ),
    ] = None
    test_split: Annotated[
        str | None,
        typer.Option(
            metavar="MARK",
            help="Mark of the clips to test, such as val. [default: with --split those whose mark "
            "means test]",
        ),
    ] = None
    test_clips: Annotated[
        int | None,
        typer.Option(
            help="Clips of each video whose logits are averaged, for networks on frames. "
            "[default: as in the run]"
        ),
    ] = None
    test_crops: Annotated[
        int | None,
        typer.Option(
            help="Spatial crops of each clip, 1 or 3, for networks on frames. "
            "[default: as in the run]"
        ),
    ] = None

    def has_views(self) -> bool:
        """Return whether views were given."""
        return self.test_clips is not None or self.test_crops is not None


@takes_groups
def evaluate_command(
    run: RunArgument,
    store: StoreArgument,
    *,
    average: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            parser=local_path,
            help="Another run with the same classes, whose probabilities are averaged with those "
            "of RUN, such as runs/16-frames; repeatable. [default: none]",
        ),
    ] = None,
    client: ClientOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=local_path,
            help="Folder for the figures, predictions and pictures, such as runs/first-on-test. "
            "[default: nothing is written]",
        ),
    ] = None,
    as_json: JsonOption = False,
    tested: TestOptions,
    columns: ColumnOptions,
) -> None:
    """Test a run's model on labeled clips of a store that it was not trained on."""
    from kinestore.pipeline.models import evaluate, load_model
    from kinestore.store import Store

    opened, runs = Store(store), [run, *(average or [])]
    data: list[ModelInput] = [opened for _ in runs]
    if tested.has_views():
        data = [
            load_model(one).choose_views(
                opened, num_clips=tested.test_clips, num_crops=tested.test_crops
            )
            for one in runs
        ]
    result = evaluate(
        runs,
        data,
        client=client,
        columns=columns.given(),
        split=tested.split,
        test_split=tested.test_split,
        out=out,
        device="auto",
    )
    if as_json:
        say_json(result.to_json())
        return
    say(evaluation_table(result))
    if out is not None:
        say(f"Written to {out}")


def predict_command(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Argument(
            metavar="STORE|VIDEOS",
            help="A store, or videos as for extract (a folder, a manifest or one video), whose "
            "features are extracted for this command alone.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="File to write: .parquet or .csv, such as predictions.csv.",
        ),
    ],
    client: ClientOption = None,
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--extractor",
            metavar="NAME:SETTING=VALUE,...",
            help="Extractor of the run with the settings that its store was extracted with, for "
            "VIDEOS, such as slow:sampling=step:4 or r3d:keyframes=6; repeatable. "
            "[default: each extractor's own settings]",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Checkpoint of an extractor for VIDEOS, as in extract; repeatable. "
            "[default: the published one]",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="Text file with one prompt a line, for clip-text of VIDEOS. [default: those of "
            "the run's store]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of each clip of a store or of videos, with or without labels."""
    from kinestore.pipeline.extraction.config import ExtractionConfig
    from kinestore.pipeline.extraction.outputs import parse_weights
    from kinestore.pipeline.models import load_model, predict
    from kinestore.pipeline.models.extract_for_run import extracted_for, extractor_of
    from kinestore.pipeline.models.predict_store import check_table_file
    from kinestore.store import Store, UsageError
    from kinestore.store.io.addresses import open_storage
    from kinestore.store.marker import STORE_MARKER

    check_table_file(out, inputs=(data,))
    with progress() as show:
        opened: AbstractContextManager[tuple[Store, ExtractionResult | None]]
        if open_storage(data).kind(STORE_MARKER) is not None:
            for option, given in {
                "-e": extractor,
                "--weights": weights,
                "--prompts": prompts,
            }.items():
                if given:
                    raise UsageError(
                        f"{option}: is for videos, and {data} is a store, whose features are there "
                        "already; leave it out"
                    )
            opened = nullcontext((Store(data), None))
        else:
            names = [extractor_of(name) for name in load_model(run).inputs]
            config = ExtractionConfig(weights=parse_weights(weights or [], names), prompts=prompts)
            opened = extracted_for(
                run, data, config=config, extractors=extractor or [], progress=show
            )
        with opened as (store, extracted):
            result = predict(run, store, client=client, out=out, device="auto")
            failures: list[Failure] = [] if extracted is None else store.failures()
    if as_json:
        failed = [{"path": one.uri, "message": one.message} for one in failures]
        say_json({**result.to_json(), "failed": failed})
    else:
        text = f"Predictions of {len(result.clip_ids)} clips written to {out}"
        if seen := int(result.in_training.sum()):
            text += f"; {seen} of them were in training (column in_training)"
        say(text)
        for one in failures:
            say(f"Not predicted: {one.uri}: {one.message}")
    if failures:
        raise typer.Exit(SOME_INPUTS_FAILED)


def evaluation_table(result: "Evaluation") -> RenderableType:
    """Return the figures of an evaluation, and what was left out."""
    left_out = result.left_out
    others = ", ".join(f"{name} {count}" for name, count in left_out.other_classes.items())
    low, high = result.interval
    rows = {
        "test clips": str(result.num_clips),
        "left out, other splits": str(left_out.num_of_other_splits),
        "left out, as in training": str(left_out.num_seen),
        "left out, no label": str(left_out.num_unlabeled),
        "left out, other classes": others,
        "mean average precision": ""
        if result.mean_average_precision is None
        else f"{result.mean_average_precision:.3f}",
        "top-1": f"{result.scores.top1:.3f}",
        f"95 % interval over {result.interval_over}": f"{low:.3f} to {high:.3f}",
        "chance level": f"{1 / len(result.classes):.3f}",
        "top-5": f"{result.scores.top5:.3f}",
        "macro precision": f"{result.scores.macro_precision:.3f}",
        "macro recall": f"{result.scores.macro_recall:.3f}",
        "macro F1": f"{result.scores.macro_f1:.3f}",
        "calibration error": f"{result.calibration.error:.3f}",
    }
    for client, top1 in result.client_top1.items():
        rows[f"top-1 of client {client}'s own model"] = f"{top1:.3f}"
    kept = [(name, value) for name, value in rows.items() if value not in ("", "0")]
    return text_table(("", ""), kept, title=f"{', '.join(result.runs)} on {result.data}")
