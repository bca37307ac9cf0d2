"""The app of a client: each message of the server is a question to the client's own clips."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Protocol

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from kinestore.federated.client_update import LocalResult
from kinestore.federated.flower_app.client_states import Refusal
from kinestore.federated.flower_app.messages import (
    FAILED,
    PROTOCOL,
    REFUSED,
    UNPREPARED,
    Description,
    EvaluateReply,
    EvaluateRequest,
    FinishReply,
    FinishRequest,
    Offer,
    Setup,
    TrainReply,
    TrainRequest,
)
from kinestore.federated.flower_app.records import (
    InvalidMessage,
    read_arrays,
    read_body,
    read_values,
    write_content,
)
from kinestore.federated.state import Arrays


class Site(Protocol):
    """A client's clips and what it does with them."""

    @property
    def name(self) -> str:
        """The client's name."""

    def describe(self, offer: Offer) -> Description:
        """Return what the client has, for a training as it is offered."""

    def measure(self, offer: Offer) -> Arrays:
        """Return count, mean and m2 of the training clips' features; nothing of too few."""

    def is_prepared(self, federation: str) -> bool:
        """Return whether the setup of this run is known."""

    def prepare(self, setup: Setup, standardizer: Arrays) -> None:
        """Get ready to train as agreed on."""

    def train(self, request: TrainRequest, arrays: Arrays) -> LocalResult:
        """Train for a round, and keep the state."""

    def evaluate(
        self, request: EvaluateRequest, arrays: Arrays, others: Mapping[str, Arrays]
    ) -> EvaluateReply:
        """Score models on the client's own test and validation clips."""

    def finish(self, request: FinishRequest, arrays: Arrays) -> FinishReply:
        """Take the final model, and score it."""


def build_client_app(site: Site) -> ClientApp:
    """Return Flower's app for a client."""
    app = ClientApp()

    @app.query("hello")
    def hello(message: Message, _: Context) -> Message:
        return _answer(message, lambda content: _hello(site, content))

    @app.query("measure")
    def measure(message: Message, _: Context) -> Message:
        return _answer(
            message,
            lambda content: write_content({}, moments=site.measure(read_body(content, Offer))),
        )

    @app.train()
    def train(message: Message, _: Context) -> Message:
        return _answer(message, lambda content: _train(site, content))

    @app.evaluate()
    def evaluate(message: Message, _: Context) -> Message:
        return _answer(message, lambda content: _evaluate(site, content))

    @app.query("finish")
    def finish(message: Message, _: Context) -> Message:
        return _answer(message, lambda content: _finish(site, content))

    return app


def _answer(message: Message, handle: Callable[[RecordDict], RecordDict]) -> Message:
    """Answer a message; what goes wrong is named by its kind, in words only where they are safe."""
    try:
        content = handle(message.content)
    except (Refusal, InvalidMessage) as error:
        logging.getLogger("kinestore.federation").warning("%s", error)
        content = write_content({REFUSED: str(error)})
    except Exception as error:
        logging.getLogger("kinestore.federation").exception("a message could not be answered")
        content = write_content({FAILED: type(error).__name__})
    return Message(content, reply_to=message)


def _hello(site: Site, content: RecordDict) -> RecordDict:
    values = read_values(content)
    if "name" in values:
        return write_content({"name": site.name})
    if values.get("protocol") != PROTOCOL:
        raise Refusal(
            f"the server speaks version {values.get('protocol')} of the protocol, and this client "
            f"version {PROTOCOL}; install the same version of kinestore"
        )
    return write_content(asdict(site.describe(read_body(content, Offer))))


def _is_prepared(
    site: Site, request: TrainRequest | EvaluateRequest | FinishRequest, content: RecordDict
) -> bool:
    if request.setup is not None:
        site.prepare(request.setup, read_arrays(content, "setup"))
    return site.is_prepared(request.federation)


def _train(site: Site, content: RecordDict) -> RecordDict:
    request = read_body(content, TrainRequest)
    if not _is_prepared(site, request, content):
        return write_content({UNPREPARED: True})
    result = site.train(request, read_arrays(content, "arrays"))
    last = result.last
    reply = TrainReply(epochs=last.number, loss=last.loss, accuracy=last.accuracy, top5=last.top5)
    return write_content(asdict(reply), arrays=result.update.arrays)


def _evaluate(site: Site, content: RecordDict) -> RecordDict:
    request = read_body(content, EvaluateRequest)
    if not _is_prepared(site, request, content):
        return write_content({UNPREPARED: True})
    others = {name: read_arrays(content, f"other {name}") for name in request.others}
    return write_content(asdict(site.evaluate(request, read_arrays(content, "arrays"), others)))


def _finish(site: Site, content: RecordDict) -> RecordDict:
    request = read_body(content, FinishRequest)
    if request.reason is None and not _is_prepared(site, request, content):
        return write_content({UNPREPARED: True})
    return write_content(asdict(site.finish(request, read_arrays(content, "arrays"))))
