"""Clients on other machines, as the rounds see them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeVar

from flwr.app import RecordDict

from kinestore.federated.client_update import LocalConfig, LocalResult
from kinestore.federated.clients import Answers, RoundScores
from kinestore.federated.flower_app.answers import (
    Member,
    arrays_of,
    check_confusion,
    checked_hits,
    join_hits,
    share_correct,
    taken,
)
from kinestore.federated.flower_app.exchange import Absence, ClientExchange
from kinestore.federated.flower_app.messages import (
    EVALUATE,
    FINISH,
    TRAIN,
    UNPREPARED,
    EvaluateReply,
    EvaluateRequest,
    FinishReply,
    FinishRequest,
    Setup,
    TrainReply,
    TrainRequest,
)
from kinestore.federated.flower_app.records import (
    InvalidMessage,
    read_values,
    to_record,
    write_content,
)
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.run_state import RunState, last_used
from kinestore.federated.state import Arrays, ClientState, ClientUpdate
from kinestore.federated.update_validation import RejectedUpdate
from kinestore.heads import Epoch

_T = TypeVar("_T")
Request = Callable[[Setup | None], RecordDict]
"""Builds a client's message, with the setup or without it."""


class RemoteClients:
    """Clients on other machines.

    Args:
        exchange: Reaches them.
        members: The client of each number; None for one that takes no part.
        quorum: Updates that a round needs.
        seconds: Time for the answers of one exchange.
        has_private: Whether parts of the model stay with the clients.
        say: Takes what a person should know.
    """

    def __init__(
        self,
        exchange: ClientExchange,
        members: Sequence[Member | None],
        *,
        quorum: int,
        seconds: float,
        has_private: bool,
        say: Callable[[str], None],
    ) -> None:
        self._exchange, self.quorum, self._seconds = exchange, quorum, seconds
        self._has_private, self._say = has_private, say
        self._members = {
            client: member for client, member in enumerate(members) if member is not None
        }
        self._names = exchange.roster.names
        self._prepared: set[int] = set()
        self.sizes = [0 if member is None else member.num_train for member in members]
        self.unscored: list[str] = []

    def identities(self) -> Sequence[str]:
        """Return name and counts of each client; what its clips are it checks by itself."""
        counts = {
            client: (each.num_train, each.num_test, each.num_validation)
            for client, each in self._members.items()
        }
        return [f"{name}:{counts.get(client)}" for client, name in enumerate(self._names)]

    def train(self, run: RunState, configs: Sequence[LocalConfig]) -> Answers:
        """Have the clients train; those that fail or are late are named and left out."""
        results, absent, sent = [], [], to_record(run.server.arrays)
        best = 0 if run.best is None else run.best.number

        def request(config: LocalConfig) -> Request:
            states = [last_used(run.records, config.client, up_to=one) for one in (None, best)]
            return lambda setup: write_content(
                asdict(
                    TrainRequest(
                        federation=self._federation,
                        config=config,
                        state_round=states[0],
                        keep=states,
                        setup=setup,
                    )
                ),
                arrays=sent,
                **self._setup_arrays(config.client, setup),
            )

        asked = {config.client: request(config) for config in configs}
        for client, answer in self._ask(TRAIN, asked).items():
            try:
                reply = taken(answer, TrainReply)
                results.append(self._result(client, reply, arrays_of(answer)))
            except InvalidMessage as error:
                absent.append(RejectedUpdate(client=client, reason=str(error), is_absent=True))
                self._say(f"client {client} ({self._names[client]}) {error}")
        return Answers(results=results, absent=absent)

    def score(self, run: RunState, others: Mapping[str, Arrays]) -> RoundScores:
        """Have each client score the new model on its own samples."""
        number, sent = len(run.records) + 1, to_record(run.server.arrays)
        further = {f"other {name}": to_record(arrays) for name, arrays in others.items()}

        def request(client: int) -> Request:
            state = run.used.get(client, 0)
            return lambda setup: write_content(
                asdict(
                    EvaluateRequest(
                        federation=self._federation,
                        state_round=state,
                        others=list(others),
                        setup=setup,
                    )
                ),
                arrays=sent,
                **further,
                **self._setup_arrays(client, setup),
            )

        scored = {
            client: request(client)
            for client, each in self._members.items()
            if each.num_test or each.num_validation
        }
        replies: dict[int, EvaluateReply] = {}
        for client, answer in self._ask(EVALUATE, scored).items():
            try:
                replies[client] = checked_hits(
                    taken(answer, EvaluateReply), self._members[client], others
                )
            except InvalidMessage as error:
                self.unscored.append(f"round {number}, client {client}: {error}")
                self._say(f"client {client} ({self._names[client]}) {error}: it gave no scores")
        join = partial(join_hits, num_clients=len(self.sizes), has_private=self._has_private)
        # Losses of rounds can be compared where the same clients gave them.
        complete = all(
            client in replies for client, each in self._members.items() if each.num_validation
        )
        losses = {client: one.validation for client, one in replies.items() if complete}
        return RoundScores(
            test=join({client: one.test for client, one in replies.items()}),
            validation=join(losses),
            others={name: share_correct(replies.values(), name) for name in others},
        )

    def finish(self, arrays: Arrays, records: Sequence[RoundRecord]) -> dict[int, FinishReply]:
        """Send the kept model to all clients, and return their final counts.

        Args:
            arrays: The server's tensors after the kept round.
            records: Up to the kept round.
        """
        sent = to_record(arrays)

        def request(client: int) -> Request:
            state = last_used(records, client)
            return lambda setup: write_content(
                asdict(FinishRequest(federation=self._federation, state_round=state, setup=setup)),
                arrays=sent,
                **self._setup_arrays(client, setup),
            )

        replies = {}
        for client, answer in self._ask(
            FINISH, {one: request(one) for one in self._members}
        ).items():
            try:
                reply = taken(answer, FinishReply)
                check_confusion(reply, self._members[client])
                replies[client] = reply
            except InvalidMessage as error:
                self.unscored.append(f"at the end, client {client}: {error}")
                self._say(f"client {client} ({self._names[client]}) {error} at the end")
        return replies

    @property
    def _federation(self) -> str:
        return next(iter(self._members.values())).setup.offer.federation

    def _setup_arrays(self, client: int, setup: Setup | None) -> dict[str, Arrays]:
        return {} if setup is None else {"setup": self._members[client].standardizer}

    def _ask(self, kind: str, requests: Mapping[int, Request]) -> dict[int, RecordDict | Absence]:
        """Ask clients, with the setup where they may not know it; once more where they say so."""
        if not requests:
            return {}
        contents = {
            client: build(None if client in self._prepared else self._members[client].setup)
            for client, build in requests.items()
        }
        found = self._exchange.ask(kind, contents, seconds=self._seconds)
        again = {
            client: requests[client](self._members[client].setup)
            for client, answer in found.items()
            if isinstance(answer, RecordDict) and UNPREPARED in read_values(answer)
        }
        if again:
            found |= self._exchange.ask(kind, again, seconds=self._seconds)
        self._prepared |= {
            client for client, answer in found.items() if isinstance(answer, RecordDict)
        }
        return dict(sorted(found.items()))

    def _result(self, client: int, reply: TrainReply, arrays: Arrays) -> LocalResult:
        return LocalResult(
            update=ClientUpdate(client=client, num_samples=self.sizes[client], arrays=arrays),
            state=ClientState(),
            last=Epoch(
                number=reply.epochs, loss=reply.loss, accuracy=reply.accuracy, top5=reply.top5
            ),
        )
