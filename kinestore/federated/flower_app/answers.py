"""What clients on other machines answered: checked, and joined to accuracies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flwr.app import RecordDict

from kinestore.federated.evaluation import ClientHits, ModelScores, plain_mean
from kinestore.federated.flower_app.exchange import Absence
from kinestore.federated.flower_app.messages import EvaluateReply, FinishReply, PartHits, Setup
from kinestore.federated.flower_app.records import InvalidMessage, read_arrays, read_body
from kinestore.federated.state import Arrays

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A client that takes part.

    Attributes:
        setup: The agreement, as it is sent to the client.
        num_train: Training clips.
        num_test: Test clips.
        num_validation: Validation clips.
        standardizer: Tensors of the setup.
    """

    setup: Setup
    num_train: int
    num_test: int
    num_validation: int
    standardizer: Arrays


def taken(answer: RecordDict | Absence, kind: type[_T]) -> _T:
    """Return what a client answered; raise `InvalidMessage` with the reason where it did not."""
    if isinstance(answer, Absence):
        raise InvalidMessage(answer.reason)
    return read_body(answer, kind)


def arrays_of(answer: RecordDict | Absence) -> Arrays:
    """Return the tensors that a client sent."""
    return {} if isinstance(answer, Absence) else read_arrays(answer, "arrays")


def checked_hits(reply: EvaluateReply, member: Member, others: Collection[str]) -> EvaluateReply:
    """Return counts that fit what the client has; raise `InvalidMessage` for others."""
    pairs = ((reply.test, member.num_test), (reply.validation, member.num_validation))
    for part, num_clips in pairs:
        counted = 0 if part is None else part.num_clips
        fits = part is None or 0 <= part.top1 <= part.top5 <= part.num_clips
        if counted != num_clips or not fits:
            raise InvalidMessage("sent counts of other clips than it has")
    if set(reply.others) != set(others) or any(
        not 0 <= count <= member.num_test for count in reply.others.values()
    ):
        raise InvalidMessage("sent counts of other models than those sent")
    return reply


def check_confusion(reply: FinishReply, member: Member) -> None:
    """Raise `InvalidMessage` where final counts do not fit what the client has."""
    num_classes = len(member.setup.classes)
    square = len(reply.confusion) == num_classes and all(
        len(row) == num_classes and min(row) >= 0 for row in reply.confusion
    )
    if member.num_test and not square:
        raise InvalidMessage("sent a confusion matrix of other classes")
    total = sum(map(sum, reply.confusion))
    if total != member.num_test or not 0 <= reply.top5 <= total:
        raise InvalidMessage("sent counts of other clips than it has")


def join_hits(
    parts: Mapping[int, PartHits | None], *, num_clients: int, has_private: bool
) -> ModelScores | None:
    """Return the accuracies over the clients that answered; None without any samples.

    Args:
        parts: Counts by client.
        num_clients: Number of all clients.
        has_private: Whether each client was scored with a model of its own: then plain means.
    """
    known = {client: part for client, part in parts.items() if part is not None}
    if not known:
        return None
    hits = {
        client: ClientHits(client, part.num_clips, part.top1, part.top5)
        for client, part in known.items()
    }
    everyone = tuple(hits.get(client, ClientHits(client, 0, 0, 0)) for client in range(num_clients))
    each = list(known.values())
    if has_private:
        ratios = [(one.top1 / one.num_clips, one.top5 / one.num_clips) for one in each]
        top1, top5 = map(plain_mean, zip(*ratios, strict=True))
        loss = plain_mean([one.loss / one.num_clips for one in each])
    else:
        total = sum(one.num_clips for one in each)
        top1, top5 = sum(one.top1 for one in each) / total, sum(one.top5 for one in each) / total
        loss = sum(one.loss for one in each) / total
    return ModelScores(top1=top1, top5=top5, loss=loss, clients=everyone)


def share_correct(replies: Collection[EvaluateReply], name: str) -> float:
    """Return the share of all test samples that a further model predicted correctly."""
    total = sum(one.test.num_clips for one in replies if one.test is not None)
    return sum(one.others[name] for one in replies) / total if total else float("nan")
