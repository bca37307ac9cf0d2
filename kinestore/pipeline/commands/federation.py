"""The commands `kinestore federation`: learning over clients on several machines."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinestore.pipeline.commands.console import complain, progress, say, say_json
from kinestore.pipeline.commands.data_options import EvaluationOptions
from kinestore.pipeline.commands.option_groups import Group, takes_groups
from kinestore.pipeline.commands.options import (
    HeadOption,
    JsonOption,
    OverwriteOption,
    RunOption,
    SeedOption,
    StoreArgument,
)
from kinestore.pipeline.commands.run_once_or_more import run_and_say
from kinestore.pipeline.commands.training_options import LearningOptions
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.pipeline.training.flower.server import ServerConfig

federation_app = typer.Typer(
    no_args_is_help=True,
    help="Train over clients on several machines, with Flower (the extra flower).",
)

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", parser=local_path, help="Folder of the federation.")
]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help="No TLS and no keys: for trials on one machine alone."),
]


@federation_app.command("certificates")
def certificates_command(
    folder: FolderArgument,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address of the server, as clients reach it; repeatable."),
    ] = None,
    client: Annotated[list[str] | None, typer.Option(help="Name of a client; repeatable.")] = None,
    days: Annotated[int, typer.Option(help="Days for which the certificates are valid.")] = 365,
) -> None:
    """Make the server's certificate, and a key for each client."""
    _check_extra()
    from kinestore.federated.flower_app.certificates import make_certificates

    for path in make_certificates(folder, hosts=host or [], clients=client or [], days=days):
        say(str(path))


@dataclass(frozen=True, kw_only=True)
class ServerOptions(Group):
    """Options of how clients are reached."""

    certificates: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=local_path,
            help="Folder of kinestore federation certificates, such as fed. [default: none, which "
            "needs --insecure]",
        ),
    ] = None
    insecure: InsecureOption = False
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0"
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9092
    client: Annotated[
        list[str] | None,
        typer.Option(help="Name of a client, such as north, with --insecure; repeatable."),
    ] = None
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="All classes, where clients may have only some of them. [default: all clients "
            "must have the same]",
        ),
    ] = None
    wait: Annotated[float, typer.Option(help="Seconds for clients to connect at first.")] = 600.0
    deadline: Annotated[float, typer.Option(help="Seconds for the answers of a round.")] = 600.0
    quorum: Annotated[
        int | None,
        typer.Option(help="Updates that a round needs. [default: more than half of those drawn]"),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's last round.")
    ] = False

    def config(self) -> "ServerConfig":
        """Return these options as the job takes them."""
        from kinestore.pipeline.training.flower.server import ServerConfig

        _check_secure(self.certificates, self.insecure)
        return ServerConfig(
            host=self.host,
            port=self.port,
            certificates=self.certificates,
            clients=self.client or [],
            classes=None
            if self.classes is None
            else [name.strip() for name in self.classes.split(",")],
            wait=self.wait,
            deadline=self.deadline,
            quorum=self.quorum,
            resume=self.resume,
        )


@dataclass(frozen=True, kw_only=True)
class RoundOptions(Group):
    """Options of the rounds, as of `federate`."""

    head: HeadOption = "mlp"
    strategy: Annotated[str, typer.Option(help="Aggregation method, as in kinestore federate.")] = (
        "fedavg"
    )
    rounds: Annotated[int, typer.Option(help="Rounds of communication.")] = 80
    local_epochs: Annotated[
        int | None, typer.Option(help="Epochs of a client in a round. [default: 5]")
    ] = None
    clients_per_round: Annotated[
        int | None, typer.Option(help="Number of clients drawn for each round. [default: all]")
    ] = None
    min_clips: Annotated[
        int, typer.Option(help="Training clips that a client needs to take part.")
    ] = 3


@federation_app.command("server")
@takes_groups
def server_command(
    out: RunOption,
    *,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    reached: ServerOptions,
    rounds: RoundOptions,
    evaluation: EvaluationOptions,
    learning: LearningOptions,
) -> None:
    """Run the server of a federation: clients connect, train in rounds, and keep their clips."""
    _check_extra()
    from kinestore.pipeline.training.federated.federate import CLIENT_HEAD_TRAINING
    from kinestore.pipeline.training.flower.job import FederationJob
    from kinestore.pipeline.training.flower.server import serve_federation

    config = reached.config()
    job = FederationJob(
        head=rounds.head,
        strategy=rounds.strategy,
        rounds=rounds.rounds,
        clients_per_round=rounds.clients_per_round,
        min_clips=rounds.min_clips,
        evaluation=evaluation.config(),
        training=learning.config(CLIENT_HEAD_TRAINING, epochs=rounds.local_epochs),
        seed=seed,
    )
    with progress() as shown:
        run_and_say(
            lambda out, _: serve_federation(job, config, out=out, say=complain, progress=shown),
            out=out,
            seed=seed,
            repeats=None,
            as_json=as_json,
            replaces=reached.resume or overwrite,
        )


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions(Group):
    """Options of the way to the server."""

    certificates: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=local_path,
            help="This client's folder of kinestore federation certificates, such as "
            "fed/keys/north. "
            "[default: none, which needs --insecure]",
        ),
    ] = None
    insecure: InsecureOption = False
    name: Annotated[
        str | None,
        typer.Option(help="The client's name, with --insecure. [default: that of its key]"),
    ] = None
    patience: Annotated[
        float, typer.Option(help="Seconds without a connection after which to give up.")
    ] = 300.0


@federation_app.command("client")
@takes_groups
def client_command(
    store: StoreArgument,
    server: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The server, such as fed.example.org:9092.")
    ],
    folder: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            parser=local_path,
            help="For what the client keeps to itself, its logs and its own run; keep it.",
        ),
    ],
    features: Annotated[
        str, typer.Option(metavar="A[,B]", help="Stored features, as in kinestore federate.")
    ],
    *,
    as_json: JsonOption = False,
    connection: ConnectionOptions,
) -> None:
    """Take part in a federation with the clips of a store; no clip leaves this machine."""
    _check_extra()
    from kinestore.pipeline.training.flower.client import join_federation
    from kinestore.store import Store

    keys, name = connection.certificates, connection.name
    _check_secure(keys, connection.insecure)
    if keys is not None and name is not None:
        raise UsageError(f"name={name!r}: a client with a key has the key's name; leave it out")
    found = join_federation(
        Store(store).load(features.split(",")),
        server=server,
        folder=folder,
        keys=keys,
        name=name,
        patience=connection.patience,
        say=complain,
    )
    if as_json:
        say_json({} if found is None else found.to_json())
    else:
        say("the federation is over" + ("" if found is None else f"; own run: {found.path}"))


def _check_secure(certificates: Path | None, insecure: bool) -> None:
    if (certificates is None) != insecure:
        raise UsageError(
            "certificates: name their folder, or say --insecure for a trial without TLS and keys"
            if certificates is None
            else "insecure: cannot go with certificates; leave one of them out"
        )


def _check_extra() -> None:
    """Raise UsageError where Flower is not installed."""
    import importlib.util

    if importlib.util.find_spec("flwr") is None:
        raise UsageError(
            "federation: needs Flower; install it with `pip install 'kinestore[flower]'`"
        )
