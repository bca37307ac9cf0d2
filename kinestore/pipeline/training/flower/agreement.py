"""What server and clients agree on before the first round: classes, features and their scaling."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from flwr.app import RecordDict

from kinestore.federated.communication_cost import NO_TRAFFIC, Traffic
from kinestore.federated.flower_app.answers import Member
from kinestore.federated.flower_app.exchange import Absence, ClientExchange
from kinestore.federated.flower_app.messages import (
    FINISH,
    HELLO,
    MEASURE,
    PROTOCOL,
    Description,
    FinishRequest,
    Offer,
    Setup,
)
from kinestore.federated.flower_app.records import (
    InvalidMessage,
    read_arrays,
    read_body,
    write_content,
)
from kinestore.federated.standardization import LEAST_MEASURED
from kinestore.federated.update_validation import find_fault
from kinestore.heads import Standardizer
from kinestore.heads.support.standardizer import Moments, combine
from kinestore.pipeline.training.flower.comparison import ClientComparison
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.store import KinestoreError, UsageError

_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The outcome.

    Attributes:
        members: The client of each number; None for one that takes no part.
        descriptions: Of the clients that take part, by number.
        refused: One sentence for each client that takes no part.
        classes: Names of all classes.
        like: The description that all agree on, but for their counts.
        standardizer: How features are scaled.
        traffic: Cost of agreeing on it.
    """

    members: list[Member | None]
    descriptions: dict[int, Description]
    refused: list[str]
    classes: list[str]
    like: Description
    standardizer: Standardizer
    traffic: Traffic


class Agreeing:
    """Agrees with the clients.

    Args:
        exchange: Reaches them.
        job: What is to be learned.
        federation: Identity of the run.
        classes: Names of all classes; None where every client must have the same.
        seconds: Time for each answer.
        say: Takes what a person should know.
    """

    def __init__(
        self,
        exchange: ClientExchange,
        job: FederationJob,
        *,
        federation: str,
        classes: Sequence[str] | None,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._exchange, self._job, self._seconds, self._say = exchange, job, seconds, say
        self._offer = Offer(protocol=PROTOCOL, federation=federation, job=job.to_json())
        self._classes = None if classes is None else list(classes)
        self._names = exchange.roster.names
        self._reasons: dict[int, str] = {}

    def agree(self, *, wait: float) -> Agreement:
        """Compare what the clients have, and measure their features.

        Args:
            wait: Seconds for clients to connect.

        Raises:
            KinestoreError: If no client can take part.
        """
        self._wait(wait)
        descriptions = self._describe()
        comparison = ClientComparison(
            names=self._names, classes=self._classes, min_clips=self._job.min_clips
        )
        like = comparison.reference(descriptions)
        classes = self._classes or like.classes
        for client, found in list(descriptions.items()):
            if reason := comparison.difference(found, like):
                self._refuse(client, reason)
                del descriptions[client]
        self._check_any(descriptions)
        standardizer, traffic = self._measure(descriptions, width=like.shape[-1])
        scale = {
            "mean": torch.from_numpy(standardizer.mean),
            "std": torch.from_numpy(standardizer.std),
        }
        counts = [sum(one.counts.get(name, 0) for one in descriptions.values()) for name in classes]
        members = [
            Member(
                setup=Setup(offer=self._offer, client=client, classes=classes, counts=counts),
                num_train=one.num_train,
                num_test=one.num_test,
                num_validation=one.num_validation,
                standardizer=scale,
            )
            if (one := descriptions.get(client)) is not None
            else None
            for client in range(len(self._names))
        ]
        refused = [
            f"client {client} ({self._names[client]}): {reason}"
            for client, reason in sorted(self._reasons.items())
        ]
        return Agreement(
            members=members,
            descriptions=descriptions,
            refused=refused,
            classes=classes,
            like=like,
            standardizer=standardizer,
            traffic=traffic,
        )

    def _wait(self, seconds: float) -> None:
        """Wait until all clients are connected, or the time is over."""
        end, shown = time.monotonic() + seconds, -1
        while True:
            online = self._exchange.online()
            if len(online) != shown:
                shown = len(online)
                missing = [n for i, n in enumerate(self._names) if i not in online]
                rest = f"; waiting for {', '.join(missing[:10])}" if missing else ""
                self._say(f"{shown} of {len(self._names)} clients are connected{rest}")
            if shown == len(self._names) or time.monotonic() > end:
                return
            time.sleep(_POLL_SECONDS)

    def _describe(self) -> dict[int, Description]:
        content = write_content(asdict(self._offer))
        asked = dict.fromkeys(range(len(self._names)), content)
        found = {}
        for client, answer in self._exchange.ask(HELLO, asked, seconds=self._seconds).items():
            if isinstance(answer, Absence):
                self._reasons[client] = answer.reason
                self._say(f"client {client} ({self._names[client]}) {answer.reason}")
                continue
            try:
                found[client] = read_body(answer, Description)
            except InvalidMessage as error:
                self._refuse(client, str(error))
        self._check_any(found)
        return found

    def _measure(
        self, descriptions: Mapping[int, Description], *, width: int
    ) -> tuple[Standardizer, Traffic]:
        """Merge each client's count, mean and m2, as in a simulation."""
        noise = self._job.rounds_config.algorithm.stages.noise
        measured = [
            client for client, one in descriptions.items() if one.num_train >= LEAST_MEASURED
        ]
        if noise or self._job.training.standardize == "none":
            nothing = Standardizer(mean=np.zeros(width), std=np.ones(width))
            return nothing, NO_TRAFFIC
        if not measured:
            raise UsageError(
                f"clients={len(descriptions)}: none has {LEAST_MEASURED} training clips, and "
                "the statistics of fewer would give their features away"
            )
        content = write_content(asdict(self._offer))
        asked = dict.fromkeys(measured, content)
        moments = []
        for client, answer in self._exchange.ask(MEASURE, asked, seconds=self._seconds).items():
            try:
                moments.append(_moments(answer, width=width))
            except InvalidMessage as error:
                raise KinestoreError(
                    f"client {client} ({self._names[client]}): {error}, and features are scaled by "
                    "the statistics of all; start again when it is there"
                ) from None
        standardizer = Standardizer.from_moments(combine(moments))
        return standardizer, Traffic(
            parameters_up=0,
            parameters_down=0,
            bytes_up=len(moments) * 8 * (1 + 2 * width),
            bytes_down=len(descriptions) * 16 * width,
        )

    def _refuse(self, client: int, reason: str) -> None:
        """Note that a client takes no part, and tell it."""
        self._reasons[client] = reason
        self._say(f"client {client} ({self._names[client]}) takes no part: it {reason}")
        request = FinishRequest(
            federation=self._offer.federation, state_round=0, reason=f"it {reason}"
        )
        content = write_content(asdict(request))
        self._exchange.ask(FINISH, {client: content}, seconds=min(self._seconds, 30.0))

    def _check_any(self, found: Mapping[int, Description]) -> None:
        if not found:
            named = "; ".join(
                f"client {client} ({self._names[client]}) {reason}"
                for client, reason in list(self._reasons.items())[:4]
            )
            raise KinestoreError(f"no client can take part: {named}")


def _moments(answer: RecordDict | Absence, *, width: int) -> Moments:
    if isinstance(answer, Absence):
        raise InvalidMessage(answer.reason)
    arrays = read_arrays(answer, "moments")
    row = torch.zeros(width, dtype=torch.float64)
    if fault := find_fault(arrays, {"count": torch.tensor(0), "mean": row, "m2": row}):
        raise InvalidMessage(f"sent statistics that cannot be used ({fault})")
    count = int(arrays["count"])
    if count < LEAST_MEASURED or bool((arrays["m2"] < 0).any()):
        raise InvalidMessage("sent statistics that cannot be used (counts or squares)")
    return Moments(count=count, mean=arrays["mean"].numpy(), m2=arrays["m2"].numpy())
