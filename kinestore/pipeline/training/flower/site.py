"""A client's clips in a federation across machines, and how it trains on them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.federated.client_data import LocalSamples
from kinestore.federated.client_update import LocalResult, local_update
from kinestore.federated.evaluation import HeldOut
from kinestore.federated.flower_app.client_states import Refusal, StateFolder
from kinestore.federated.flower_app.messages import (
    PROTOCOL,
    Description,
    EvaluateReply,
    EvaluateRequest,
    FinishReply,
    FinishRequest,
    Offer,
    PartHits,
    Setup,
    TrainRequest,
)
from kinestore.federated.model_parts import (
    initial_server_state,
    private_arrays,
    starting_arrays,
)
from kinestore.federated.standardization import LEAST_MEASURED
from kinestore.federated.state import Arrays, ClientState
from kinestore.federated.update_validation import find_fault
from kinestore.heads import Standardizer, score
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.training.feature_data import FeatureData
from kinestore.pipeline.training.flower.job import FederationJob, compared_versions
from kinestore.pipeline.training.flower.prepared_site import (
    PreparedSite,
    check_sent,
    class_weights_of,
    num_left_out,
    with_classes,
    without_names,
)
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.folds import choose_folds, keep_labeled
from kinestore.store import Features, UsageError
from kinestore.store.io.atomic import write_text

_IDENTITY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalModel:
    """The end of a client's training.

    Attributes:
        site: The client.
        state: State dict of its final model.
        logits: Logits of its test clips.
    """

    site: PreparedSite
    state: Arrays
    logits: Tensor


class FeatureSite:
    """A client with stored features.

    Args:
        features: As `Store.load` gives them.
        name: The client's name.
        folder: Where it keeps states between rounds; only its user can read them.
    """

    def __init__(self, features: Features, *, name: str, folder: Path) -> None:
        self.name = name
        self._features, self._folder = features, folder
        self._prepared: PreparedSite | None = None
        self.ended: str | None = None
        self.final: FinalModel | None = None

    def describe(self, offer: Offer) -> Description:
        """Return counts, classes and fingerprints of the client's clips."""
        _, rows, fold = self._read(offer, self._features.classes)
        counts = np.bincount(rows.labels[fold.train], minlength=len(rows.classes))
        return Description(
            protocol=PROTOCOL,
            name=self.name,
            versions=compared_versions(),
            features=rows.feature_names,
            shape=list(rows.features.shape[1:]),
            widths=rows.widths,
            masked=rows.mask is not None,
            classes=[rows.classes[label] for label in np.unique(rows.labels)],
            counts={rows.classes[k]: int(count) for k, count in enumerate(counts) if count},
            num_train=len(fold.train),
            num_test=len(fold.test),
            num_validation=len(fold.validation),
            num_unlabeled=len(self._features.labels) - len(rows.labels),
            num_missing=len(rows.missing),
            num_left_out=num_left_out(rows, fold),
        )

    def measure(self, offer: Offer) -> Arrays:
        """Return count, mean and m2 of the training clips; nothing of fewer than three."""
        job, rows, fold = self._read(offer, self._features.classes)
        if len(fold.train) < LEAST_MEASURED:
            return {}
        moments = self._data(job, rows).moments(fold.train)
        return {
            "count": torch.tensor(moments.count),
            "mean": torch.from_numpy(moments.mean),
            "m2": torch.from_numpy(moments.m2),
        }

    def is_prepared(self, federation: str) -> bool:
        """Return whether the setup of this run is known."""
        known = self._prepared
        return known is not None and known.setup.offer.federation == federation

    def prepare(self, setup: Setup, standardizer: Arrays) -> None:
        """Standardize the clips and build the model, as agreed on."""
        self._prepared = None
        if not _IDENTITY.fullmatch(setup.offer.federation):  # it names a folder here
            raise Refusal("the server sent no identity of the run")
        job, rows, fold = self._read(setup.offer, setup.classes)
        data = self._data(job, rows)
        width = rows.features.shape[-1]
        like = torch.zeros(width, dtype=torch.float64)
        if fault := find_fault(standardizer, {"mean": like, "std": like}):
            raise Refusal(f"the standardizer does not fit ({fault})")
        scale = Standardizer(mean=standardizer["mean"].numpy(), std=standardizer["std"].numpy())
        ready = data.prepare_with(scale, [fold.train])
        model = data.new_model()
        config = job.rounds_config
        first = ClientState(private=private_arrays(model, config))
        shared = initial_server_state(model, config, num_clients=1)
        term = config.algorithm.strategy.proximal_term(1.0)
        samples = LocalSamples(
            samples=ready.clients[0],
            config=job.training.at_one_rate(),
            processes=ONE_PROCESS,
            class_weights=class_weights_of(job, setup),
        )
        folder = self._folder / setup.offer.federation
        self._check_same_clips(folder, samples.identity())
        self._prepared = PreparedSite(
            setup=setup,
            job=job,
            rows=rows,
            num_unlabeled=len(self._features.labels) - len(rows.labels),
            fold=fold,
            ready=ready,
            model=model,
            start=starting_arrays(model),
            states=StateFolder(
                path=folder,
                first=first,
                shared={name: shared.arrays[name] for name in shared.parameters},
                is_kept=bool(first.private) or term.dynamic,
            ),
            samples=samples,
        )

    def train(self, request: TrainRequest, arrays: Arrays) -> LocalResult:
        """Train for a round, and keep the state on this machine's disk."""
        site = self._known()
        check_sent(site, arrays)
        state = site.states.read(request.state_round)
        site.model.load_state_dict(dict(site.start))
        result = local_update(arrays, request.config, state, model=site.model, data=site.samples)
        site.states.write(request.config.round_number, result.state, keep=request.keep)
        return result

    def evaluate(
        self, request: EvaluateRequest, arrays: Arrays, others: Mapping[str, Arrays]
    ) -> EvaluateReply:
        """Score models on the client's own test and validation clips."""
        site = self._known()
        for sent in (arrays, *others.values()):
            check_sent(site, sent)
        own = site.states.read(request.state_round).private
        test, validation = (
            self._hits(site, rows, {**site.start, **arrays, **own})
            for rows in (site.fold.test, site.fold.validation)
        )
        return EvaluateReply(
            test=test,
            validation=validation,
            others={
                name: hits.top1
                for name, other in others.items()
                if (hits := self._hits(site, site.fold.test, {**site.start, **other})) is not None
            },
        )

    def finish(self, request: FinishRequest, arrays: Arrays) -> FinishReply:
        """Take the final model, and score it on the client's own test clips."""
        if request.reason is not None:
            self.ended = request.reason
            return FinishReply()
        site = self._known()
        check_sent(site, arrays)
        own = site.states.read(request.state_round).private
        state = {**site.start, **arrays, **own}
        site.model.load_state_dict(state)
        logits = torch.zeros(0, len(site.rows.classes))
        if len(site.fold.test):
            logits = site.ready.predict_final(site.model, site.fold.test)
        self.final, self.ended = FinalModel(site=site, state=state, logits=logits), ""
        if not len(site.fold.test):
            return FinishReply()
        labels = torch.from_numpy(site.rows.labels[site.fold.test])
        scores = score(logits, labels, len(site.rows.classes))
        return FinishReply(
            confusion=scores.confusion.tolist(), top5=round(scores.top5 * len(labels))
        )

    def _known(self) -> PreparedSite:
        if self._prepared is None:
            raise ValueError("site: prepare it before it trains, scores or finishes")
        return self._prepared

    def _read(self, offer: Offer, classes: list[str]) -> tuple[FederationJob, Features, Fold]:
        """Return the job, the labeled rows with these classes, and their division."""
        try:
            job = FederationJob.from_json(offer.job)
            rows = with_classes(keep_labeled(self._features, least_classes=1), classes)
            _, (fold,) = choose_folds(rows, job.evaluation, seed=job.seed)
        except UsageError as error:
            raise Refusal(without_names(error, self._features)) from error
        return job, rows, fold

    def _data(self, job: FederationJob, rows: Features) -> FeatureData:
        return FeatureData(
            rows,
            head=job.head,
            seed=job.seed,
            device=torch.device("cpu"),
            training=job.training,
            least_classes=1,
        )

    def _hits(self, site: PreparedSite, rows: NDArray[np.int64], state: Arrays) -> PartHits | None:
        if not len(rows):
            return None
        held_out = HeldOut(
            labels=torch.from_numpy(site.rows.labels[rows]),
            predict=lambda model, numbers: site.ready.predict(model, rows[numbers]),
            parts=[np.arange(len(rows))],
        )
        scores = held_out.score(site.model, state)
        (hits,) = scores.clients
        return PartHits(
            num_clips=len(rows), top1=hits.top1, top5=hits.top5, loss=scores.loss * len(rows)
        )

    def _check_same_clips(self, folder: Path, identity: str) -> None:
        """Refuse clips other than those that this run began with."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known, now = folder / "clips", hashlib.sha256(identity.encode()).hexdigest()
        if known.is_file() and known.read_text() != now:
            raise Refusal(
                "its clips or their features have changed since this run began; start a new run"
            )
        if not known.is_file():
            write_text(known, now)
