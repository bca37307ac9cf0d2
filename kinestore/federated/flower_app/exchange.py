"""Questions to many clients over Flower's grid, answered until a deadline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from kinestore.federated.flower_app.messages import FAILED, HELLO, REFUSED
from kinestore.federated.flower_app.records import InvalidMessage, read_values, write_content

_POLL_SECONDS = 0.05
_ONLINE_SECONDS = 1.0
_NAME_SECONDS = 30.0
_MOST_REASON = 300


@dataclass(kw_only=True)
class Roster:
    """The clients' nodes.

    Attributes:
        names: Names of all clients that may take part; a client's place is its number.
        nodes: Flower's node of each client, by name, as far as they are known.
        has_keys: Whether Flower knows the clients by their keys; else they give their own names.
    """

    names: list[str]
    nodes: dict[str, int] = field(default_factory=dict)
    has_keys: bool = True


@dataclass(frozen=True, kw_only=True)
class Absence:
    """The reason why a client gave no answer."""

    reason: str


class ClientExchange:
    """Asks clients, and waits for their answers.

    Args:
        grid: Flower's grid of the run.
        roster: Names and nodes of the clients.
    """

    def __init__(self, grid: Grid, roster: Roster) -> None:
        self._grid, self.roster = grid, roster

    def online(self) -> set[int]:
        """Return the numbers of the clients that are connected."""
        nodes = set(self._grid.get_node_ids())
        if not self.roster.has_keys:
            self._learn_names(nodes)
        return {
            number
            for number, name in enumerate(self.roster.names)
            if self.roster.nodes.get(name) in nodes
        }

    def ask(
        self, kind: str, requests: Mapping[int, RecordDict], *, seconds: float
    ) -> dict[int, RecordDict | Absence]:
        """Return each client's answer, or why there is none.

        Args:
            kind: Type of the message.
            requests: By the number of the client.
            seconds: Time for all answers.
        """
        online = self.online()
        found: dict[int, RecordDict | Absence] = {
            client: Absence(reason="is not connected")
            for client in requests
            if client not in online
        }
        asked = {
            client: self.roster.nodes[self.roster.names[client]]
            for client in requests
            if client in online
        }
        answers = self._ask_nodes(
            kind, {asked[client]: requests[client] for client in asked}, seconds=seconds
        )
        found |= {client: answers[node] for client, node in asked.items()}
        return dict(sorted(found.items()))

    def _ask_nodes(
        self, kind: str, requests: Mapping[int, RecordDict], *, seconds: float
    ) -> dict[int, RecordDict | Absence]:
        end = time.monotonic() + seconds
        pending: dict[str, int] = {}
        for node, content in requests.items():  # one at a time: all at once may be too large
            message = Message(content, dst_node_id=node, message_type=kind, ttl=seconds)
            pending |= dict.fromkeys(filter(None, self._grid.push_messages([message])), node)
        found: dict[int, RecordDict | Absence] = {}
        looked = time.monotonic()
        while pending and time.monotonic() < end:
            gone: set[int] = set()
            if time.monotonic() - looked > _ONLINE_SECONDS:
                looked = time.monotonic()
                gone = set(pending.values()) - set(self._grid.get_node_ids())
            # After that: a client may have answered and left, as all do at the end.
            for reply in self._grid.pull_messages(list(pending)):
                answered = reply.metadata.reply_to_message_id
                if answered in pending:
                    found[pending.pop(answered)] = _content_of(reply)
            for lost in [id for id, node in pending.items() if node in gone]:
                found[pending.pop(lost)] = Absence(reason="lost its connection")
            time.sleep(_POLL_SECONDS)
        late = Absence(reason=f"gave no answer within {seconds:g} s")
        return {node: found.get(node, late) for node in requests}

    def _learn_names(self, nodes: set[int]) -> None:
        """Ask nodes without a key for their names."""
        known = set(self.roster.nodes.values())
        strangers = {node: write_content({"name": True}) for node in nodes - known}
        if not strangers:
            return
        for node, answer in self._ask_nodes(HELLO, strangers, seconds=_NAME_SECONDS).items():
            if isinstance(answer, RecordDict):
                name = read_values(answer).get("name")
                if isinstance(name, str) and name in self.roster.names:
                    self.roster.nodes[name] = node


def _content_of(reply: Message) -> RecordDict | Absence:
    if reply.has_error():
        return Absence(reason=f"failed ({' '.join(str(reply.error.reason).split())[:100]})")
    try:
        values = read_values(reply.content)
    except InvalidMessage as error:
        return Absence(reason=str(error))
    if REFUSED in values:
        return Absence(reason=f"refused: {_plain(values[REFUSED])}")
    if FAILED in values:
        return Absence(reason=f"failed ({_plain(values[FAILED])}); its own log says why")
    return reply.content


def _plain(value: object) -> str:
    """Return a text from outside on one line, without control characters."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(text.split())[:_MOST_REASON]
