"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.store.io.addresses import local_path

StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="The store: a folder, such as mystore, or an s3:// or gs:// address.",
    ),
]
RemoteVideosOption = Annotated[
    bool,
    typer.Option(
        "--remote-videos",
        help="Read videos at the s3:// and gs:// addresses that the store names, with your "
        "credentials; local files need no permission.",
    ),
]
FeaturesOption = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="A[,B]",
        help="Stored features, as VIEW or VIEW:POOL, such as motion or "
        "cnn-efficientnet-lite0:mean; several are joined.",
    ),
]
RunOption = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="RUN",
        parser=local_path,
        help="Folder to write the run to, such as runs/first; made if absent.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON value, for scripts.")
]
HeadOption = Annotated[
    str,
    typer.Option(
        help="Model to train, as NAME or NAME:SETTING=VALUE,...: mlp, mlp:hidden=1024-512, "
        "gated_fusion, temporal_rnn:cell=lstm, temporal_transformer, temporal_actionclip; on "
        "frames differential, correlation, c3d."
    ),
]
KeyframesOption = Annotated[int, typer.Option(help="Number of keyframes of a clip, 1 or more.")]
KeyframeSpaceOption = Annotated[
    str,
    typer.Option(help="Feature space for keyframe clustering: luma (brightness) or cnn."),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace a finished run in the run folder. [default: refuse to]"
    ),
]
RepeatsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Run N times with the seeds SEED, SEED + 1, ..., into RUN/repeat-0, ..., and give "
        "mean and spread. [default: once]",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Random seed, 0 or more.")]
