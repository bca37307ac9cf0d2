"""A client that is ready to train, and checks of what it sends and gets."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from kinestore.federated.client_data import LocalSamples
from kinestore.federated.flower_app.client_states import Refusal, StateFolder
from kinestore.federated.flower_app.messages import Setup
from kinestore.federated.model_parts import trained_arrays
from kinestore.federated.state import Arrays
from kinestore.federated.update_validation import find_fault
from kinestore.pipeline.training.data import PreparedData
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.fold_trainer import chosen_class_weights
from kinestore.store import Features, UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSite:
    """A client that is ready to train.

    Attributes:
        setup: The agreement.
        job: Its settings.
        rows: The client's labeled clips, with the classes of all clients.
        num_unlabeled: Its clips without a label.
        fold: Its training, validation and test clips.
        ready: Its samples.
        model: A network to work in.
        start: The first weights.
        states: What it keeps to itself.
        samples: Its training samples.
    """

    setup: Setup
    job: FederationJob
    rows: Features
    num_unlabeled: int
    fold: Fold
    ready: PreparedData
    model: nn.Module
    start: Arrays
    states: StateFolder
    samples: LocalSamples


def num_left_out(rows: Features, fold: Fold) -> int:
    """Return the number of labeled clips that are in no part."""
    return len(rows.labels) - len(fold.train) - len(fold.test) - len(fold.validation)


def with_classes(rows: Features, classes: list[str]) -> Features:
    """Return labeled rows with labels numbered as in these classes.

    Raises:
        Refusal: If a row has another class.
    """
    number = {name: index for index, name in enumerate(classes)}
    held = [rows.classes[label] for label in np.unique(rows.labels)]
    if unknown := [name for name in held if name not in number]:
        raise Refusal(f"its class {unknown[0]!r} is not among those of the federation")
    order = np.array([number.get(name, -1) for name in rows.classes], np.int64)
    return replace(rows, classes=list(classes), labels=order[rows.labels])


def check_sent(site: PreparedSite, arrays: Arrays) -> None:
    """Raise `Refusal` where the server sent another model."""
    trained = trained_arrays(site.model, site.job.training.freeze)
    reference = {name: trained[name] for name in trained if name not in site.states.first.private}
    if fault := find_fault(arrays, reference):
        raise Refusal(f"the server's model does not fit ({fault})")


def class_weights_of(job: FederationJob, setup: Setup) -> Tensor | None:
    """Return weights by the counts of all clients' training clips, where training has them."""
    labels = np.repeat(np.arange(len(setup.counts)), setup.counts)
    return chosen_class_weights(job.training, labels, num_classes=len(setup.counts))


def without_names(error: UsageError, features: Features) -> str:
    """Return the words of an error, unless they name one of the client's files."""
    text = str(error)
    named = any(uri and (uri in text or Path(uri).name in text) for uri in features.uris)
    return "its clips do not allow this training; its own log says why" if named else text
