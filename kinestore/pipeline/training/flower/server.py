"""The server's job: rounds over clients on other machines, and the run folder."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from torch import nn

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.flower_app.certificates import ServerCertificates, registered_keys
from kinestore.federated.flower_app.exchange import ClientExchange, Roster
from kinestore.federated.flower_app.remote_clients import RemoteClients
from kinestore.federated.flower_app.runtime import CONNECTION_ERRORS
from kinestore.federated.flower_app.superlink import SuperLink
from kinestore.federated.model_parts import initial_server_state, private_arrays
from kinestore.federated.privacy import check_accountant, check_class_weights
from kinestore.federated.round_loop import run_rounds
from kinestore.federated.rounds import RoundRunner
from kinestore.federated.run_checkpoint import CheckpointConfig
from kinestore.heads.support.step_mask import takes_joined_mask
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.writer import open_run, read_finished
from kinestore.pipeline.training.federated.federate import round_columns, round_writer
from kinestore.pipeline.training.flower.agreement import Agreeing, Agreement
from kinestore.pipeline.training.flower.asked_config import (
    AskedConfig,
    asked_of,
    identity_of,
    with_agreement,
)
from kinestore.pipeline.training.flower.comparison import rows_like
from kinestore.pipeline.training.flower.flower_log import flower_log
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.pipeline.training.flower.run_folder import FinishedFederation, write_results
from kinestore.pipeline.training.model_spec import read_head
from kinestore.progress import Progress, no_progress
from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.addresses import local_path


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Settings of the server.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        certificates: Folder that `make_certificates` made; None for no TLS and no keys.
        clients: Names of the clients; with certificates those that have a key there.
        classes: Names of all classes; None where every client must have the same.
        wait: Seconds for clients to connect at first.
        deadline: Seconds for the answers of a round.
        quorum: Updates that a round needs; None for more than half of those drawn.
        resume: Continue from the run folder's checkpoint.
    """

    host: str
    port: int
    certificates: Path | None
    clients: Sequence[str] = ()
    classes: Sequence[str] | None = None
    wait: float = 600.0
    deadline: float = 600.0
    quorum: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("wait", "deadline"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}: must be above 0")
        if self.quorum is not None and self.quorum < 1:
            raise UsageError(f"quorum={self.quorum}: must be 1 or more")
        if self.certificates is None and not self.clients:
            raise UsageError("clients: without keys, name the clients that may take part")
        if self.certificates is not None and self.clients:
            raise UsageError(
                "clients: those with a key among the certificates take part; leave it out"
            )
        if self.classes is not None:
            if not all(self.classes):
                raise UsageError(f"classes={','.join(self.classes)!r}: has a name without letters")
            if len(set(self.classes)) < len(self.classes):
                raise UsageError(f"classes={','.join(self.classes)!r}: one is named twice")
        if len(set(self.clients)) < len(self.clients):
            raise UsageError(f"clients={', '.join(self.clients)}: one is named twice")


@dataclass(kw_only=True)
class _Outcome:
    """The end of the server's app."""

    summary: RunSummary | None = None
    error: Exception | None = None


def serve_federation(
    job: FederationJob,
    config: ServerConfig,
    *,
    out: str | Path,
    say: Callable[[str], None],
    progress: Progress = no_progress,
) -> RunSummary:
    """Train one model over clients on other machines, and write a run folder.

    Args:
        job: What is learned.
        config: How clients are reached.
        out: The run folder, as of `federate`; Flower's log is beside the results.
        say: Takes what a person should know.
        progress: Called after each round.

    Raises:
        UsageError: If the request does not allow it.
        KinestoreError: If a round has no quorum, or no client can take part.
    """
    started = time.perf_counter()
    check_accountant(job.rounds_config.algorithm.stages)
    certificates = keys = None
    if config.certificates is not None:
        certificates = ServerCertificates.in_folder(config.certificates)
        keys = registered_keys(config.certificates)
    names = sorted(keys) if keys is not None else list(config.clients)
    job.rounds_config.check_clients(len(names))
    if config.quorum is not None and config.quorum > len(names):
        raise UsageError(f"quorum={config.quorum}: must be from 1 to {len(names)}, the clients")
    asked = asked_of(job, names, out if config.resume else None)
    if config.resume and (finished := read_finished(out, asked)) is not None:
        return finished
    outcome, app, folder = _Outcome(), ServerApp(), local_path(out)
    with open_run(out, asked, columns=round_columns(validated=False), resume=config.resume):
        pass  # so that the folder is known to be usable before any client is bothered
    with (
        flower_log(folder / "flower.log"),
        SuperLink(
            host=config.host, port=config.port, certificates=certificates, folder=folder
        ) as link,
    ):
        nodes = link.register(keys) if keys is not None else {}
        roster = Roster(names=names, nodes=nodes, has_keys=keys is not None)
        say(f"listening on {config.host}:{config.port}; Flower's log is {folder / 'superlink.log'}")

        @app.main()
        def main(grid: Grid, _: Context) -> None:
            exchange = ClientExchange(grid, roster)
            server = _Server(exchange, job, config, asked, folder, say, link.wire_bytes)
            try:
                outcome.summary = server.run(progress, started)
            except CONNECTION_ERRORS as error:
                outcome.error = KinestoreError(
                    f"Flower's superlink did not answer ({type(error).__name__}); its log is "
                    f"{folder / 'superlink.log'}; give --resume to continue"
                )
            except Exception as error:
                outcome.error = error  # Flower would print its trace and hide its sentence

        with link.grid() as (grid, context):
            app(grid=grid, context=context)
    if outcome.summary is None:
        raise outcome.error or KinestoreError("Flower ended the run; its log says why")
    return outcome.summary


class _Server:
    """Rounds over the clients of a grid."""

    def __init__(
        self,
        exchange: ClientExchange,
        job: FederationJob,
        config: ServerConfig,
        asked: AskedConfig,
        folder: Path,
        say: Callable[[str], None],
        wire: Callable[[], dict[str, int]],
    ) -> None:
        self._exchange, self._job, self._config = exchange, job, config
        self._asked, self._folder, self._say, self._wire = asked, folder, say, wire

    def run(self, progress: Progress, started: float) -> RunSummary:
        """Agree, train, finish and write the run folder."""
        job, rounds = self._job, self._job.rounds_config
        agreement = Agreeing(
            self._exchange,
            job,
            federation=identity_of(self._asked),
            classes=self._config.classes,
            seconds=self._config.deadline,
            say=self._say,
        ).agree(wait=self._config.wait)
        rounds.check_clients(len(agreement.descriptions))
        asked = with_agreement(self._asked, agreement, self._exchange.roster.names)
        model = build_model(job, agreement)
        check_job(job, agreement, model)
        clients = self._clients(agreement, has_private=bool(private_arrays(model, rounds)))
        validated = any(one.num_validation for one in agreement.descriptions.values())
        columns = round_columns(validated=validated)
        with open_run(self._folder, self._asked, columns=columns, resume=True) as run:
            run.write_json("config.json", asked)
            write = round_writer(run, columns, job.rounds, progress)("test", 0)
            resumed = run.checkpoint(0).exists()
            runner = RoundRunner(model, clients, rounds)
            history = run_rounds(
                runner,
                rounds,
                choice=RoundChoice(
                    by_clients=validated, patience=job.evaluation.patience if validated else None
                ),
                checkpoints=CheckpointConfig(path=run.checkpoint(0), every=1, resume=True),
                on_round=write,
            )
            sent = {name: history.state[name] for name in history.shared}
            replies = clients.finish(sent, history.rounds[: history.kept_round])
            model.load_state_dict(history.state)
            return write_results(
                run,
                FinishedFederation(
                    job=job,
                    asked=asked,
                    agreement=agreement,
                    model=model,
                    history=history,
                    replies=replies,
                    unscored=clients.unscored,
                    wire=None if resumed else self._wire(),
                    seconds=time.perf_counter() - started,
                ),
            )

    def _clients(self, agreement: Agreement, *, has_private: bool) -> RemoteClients:
        drawn = self._job.clients_per_round or len(agreement.descriptions)
        return RemoteClients(
            self._exchange,
            agreement.members,
            quorum=self._config.quorum or drawn // 2 + 1,
            seconds=self._config.deadline,
            has_private=has_private,
            say=self._say,
        )


def build_model(job: FederationJob, agreement: Agreement) -> nn.Module:
    """Build the model before training, as every client builds it."""
    like = agreement.like
    rows = rows_like(like, agreement.classes)
    model = read_head(job.head).create(rows, seed=job.seed)
    return takes_joined_mask(model) if like.masked else model


def check_job(job: FederationJob, agreement: Agreement, model: nn.Module) -> None:
    """Refuse what cannot be run, before the first round."""
    config = job.rounds_config
    initial_server_state(model, config, num_clients=len(agreement.descriptions))
    check_class_weights(config.algorithm.stages, job.training.class_weights)
    if not any(one.num_test for one in agreement.descriptions.values()):
        raise UsageError("split: no client has a test clip; mark some, or hold out a share")
