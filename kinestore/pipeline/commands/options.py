"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.store.io.paths import local_path

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
KeyframesOption = Annotated[int, typer.Option(help="Frames chosen of a clip.")]
KeyframeSpaceOption = Annotated[str, typer.Option(help="Clustered by: luma or cnn.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn at random.")]
