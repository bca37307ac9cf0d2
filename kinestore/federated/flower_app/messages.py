"""Kinds of messages between the server and a client, and what they hold besides tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kinestore.federated.client_update import LocalConfig

PROTOCOL = 1
"""Version of these messages; sides with different ones do not learn together."""

HELLO, MEASURE, FINISH = "query.hello", "query.measure", "query.finish"
TRAIN, EVALUATE = "train", "evaluate"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The server's first message: what is to be learned.

    Attributes:
        protocol: `PROTOCOL` of the server.
        federation: Identity of the run, 32 hex digits.
        job: Settings that decide the training, as JSON values.
    """

    protocol: int
    federation: str
    job: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Description:
    """A client's answer: what it has.

    Attributes:
        protocol: `PROTOCOL` of the client.
        name: The name that the client gives itself.
        versions: Versions of the packages that results depend on.
        features: Features with their fingerprints, in order.
        shape: Shape of one clip.
        widths: Features of each view; none for clips of frames.
        masked: Whether sequences have a mask.
        classes: Names of the classes of its clips, sorted.
        counts: Training clips by class, by name.
        num_train: Number of training clips.
        num_test: Number of test clips.
        num_validation: Number of validation clips.
        num_unlabeled: Clips left out because they have no label.
        num_missing: Clips left out because a feature is missing.
        num_left_out: Labeled clips that are in no part.
    """

    protocol: int
    name: str
    versions: Mapping[str, str]
    features: list[str]
    shape: list[int]
    widths: list[int]
    masked: bool
    classes: list[str]
    counts: Mapping[str, int]
    num_train: int
    num_test: int
    num_validation: int
    num_unlabeled: int
    num_missing: int
    num_left_out: int


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The outcome of the agreement, which goes with the first message that needs it.

    Attributes:
        offer: The server's first message.
        client: The client's number.
        classes: Names of all classes, in the order of the model's outputs.
        counts: Training clips of all clients by class, in this order.
    """

    offer: Offer
    client: int
    classes: list[str]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Instructions for a round.

    Attributes:
        federation: Identity of the run.
        config: The client's instructions.
        state_round: The round whose state the client starts from; 0 for none.
        keep: Rounds whose states the server may still go back to.
        setup: The agreement, where the client may not know it.
    """

    federation: str
    config: LocalConfig
    state_round: int
    keep: list[int]
    setup: Setup | None = None


@dataclass(frozen=True, kw_only=True)
class TrainReply:
    """Figures of the last local epoch; the tensors are the group "arrays"."""

    epochs: int
    loss: float
    accuracy: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Models to score; the tensors of each are a group of its name.

    Attributes:
        federation: Identity of the run.
        state_round: The round whose private tensors complete the model; 0 for none.
        others: Names of further models, without private tensors.
        setup: The agreement, where the client may not know it.
    """

    federation: str
    state_round: int
    others: list[str] = field(default_factory=list)
    setup: Setup | None = None


@dataclass(frozen=True, kw_only=True)
class PartHits:
    """Counts over a client's own samples.

    Attributes:
        num_clips: Samples.
        top1: Those predicted correctly.
        top5: Those whose class is among the five best.
        loss: Sum of the cross-entropy.
    """

    num_clips: int
    top1: int
    top5: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class EvaluateReply:
    """Counts on the client's own test and validation samples; None without any."""

    test: PartHits | None
    validation: PartHits | None
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FinishRequest:
    """The end of the run; the tensors of the kept model are the group "arrays".

    Attributes:
        federation: Identity of the run.
        state_round: The round whose private tensors complete the model; 0 for none.
        reason: Why the client was refused; None where the run ended well.
        setup: The agreement, where the client may not know it.
    """

    federation: str
    state_round: int
    reason: str | None = None
    setup: Setup | None = None


@dataclass(frozen=True, kw_only=True)
class FinishReply:
    """Final counts of a client's own test clips.

    Attributes:
        confusion: Counts; rows are labels, columns predictions.
        top5: Clips whose class is among the five best.
    """

    confusion: list[list[int]] = field(default_factory=list)
    top5: int = 0


UNPREPARED, REFUSED, FAILED = "unprepared", "refused", "failed"
"""Entries of an answer that is none: the setup is not known, a sentence, or a kind of error."""
