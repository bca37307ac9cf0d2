"""The run folder of a federation across machines: as of a simulation, without any clip."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support
from torch import nn

from kinestore.federated.flower_app.messages import FinishReply
from kinestore.federated.privacy import privacy_of
from kinestore.federated.round_loop import History
from kinestore.heads import Scores
from kinestore.pipeline.costs.run_cost import cost_of_model
from kinestore.pipeline.plotting.partition_chart import draw_partition
from kinestore.pipeline.plotting.run_charts import draw_clients
from kinestore.pipeline.runs.best_and_last import FoldCurve, summarize_curves
from kinestore.pipeline.runs.client_partition import write_client_partition
from kinestore.pipeline.runs.predictions import Predictions
from kinestore.pipeline.runs.summary import FederatedFigures, RunSummary
from kinestore.pipeline.runs.training_clips import write_training_clips
from kinestore.pipeline.runs.writer import Run, versions
from kinestore.pipeline.training.federated.communication_report import communication
from kinestore.pipeline.training.federated.figures import (
    mean_of_clients,
    rejected_updates_of,
    round_panels_of,
)
from kinestore.pipeline.training.flower.agreement import Agreement
from kinestore.pipeline.training.flower.comparison import rows_like
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.store import KinestoreError


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedFederation:
    """All that the server knows at the end.

    Attributes:
        job: What was learned.
        asked: Entries of config.json.
        agreement: Clients, classes and features.
        model: The model that is kept; where clients have private parts, as a new client has it.
        history: The rounds.
        replies: Final counts of the clients that answered.
        unscored: One sentence for each client that gave no scores.
        wire: Bytes of all requests and answers, as bytes_up and bytes_down; None of a run that was
            resumed, whose earlier part nobody counted.
        seconds: Wall time of the job.
    """

    job: FederationJob
    asked: dict[str, object]
    agreement: Agreement
    model: nn.Module
    history: History
    replies: Mapping[int, FinishReply]
    unscored: list[str]
    wire: dict[str, int] | None
    seconds: float


def write_results(run: Run, found: FinishedFederation) -> RunSummary:
    """Write model, pictures, figures and, last, the summary."""
    agreement, classes = found.agreement, found.agreement.classes
    num_clients = len(agreement.members)
    sent, head = _parameters(found)
    traffic = communication(
        found.history.rounds,
        setup=agreement.traffic,
        num_clients=num_clients,
        shared=sent,
        head=head,
        views=agreement.like.features,
    )
    run.write_json("communication.json", {**traffic, "wire": found.wire})
    counts = np.array(
        [
            [0 if one is None else one.counts.get(name, 0) for name in classes]
            for one in map(agreement.descriptions.get, range(num_clients))
        ]
    )
    draw_partition(run.path / "partition.png", counts, classes=classes)
    own = {client: _accuracy(reply) for client, reply in found.replies.items()}
    top1 = [own.get(client, (None, None))[0] for client in range(num_clients)]
    top5 = [own.get(client, (None, None))[1] for client in range(num_clients)]
    draw_clients(run.path / "clients.png", top1)
    run.write_model(found.model, agreement.standardizer)
    scores = _scores(list(found.replies.values()), num_classes=len(classes))
    run.write_pictures(
        round_panels_of([found.history.rounds]), scores, classes=classes, x_label="round"
    )
    write_training_clips(run.path, [])  # the server knows no clip, and each client its own
    write_client_partition(run.path, rows_like(agreement.like, classes), {})
    summary = _summary(run, found, scores)
    figures = _figures(found, top1, top5, traffic)
    summary = replace(summary, federation=figures)
    run.finish(summary, _no_predictions())
    return summary


def _no_predictions() -> Predictions:
    return Predictions(
        clip_ids=[],
        labels=[],
        predicted=[],
        confidence=np.zeros(0, np.float32),
        folds=[],
        clients=[],
    )


def _parameters(found: FinishedFederation) -> tuple[int, int]:
    """Return the parameters that are sent, and all."""
    parameters = dict(found.model.named_parameters())
    shared = found.history.shared
    sent = sum(array.numel() for name, array in parameters.items() if name in shared)
    return sent, sum(array.numel() for array in parameters.values())


def _accuracy(reply: FinishReply) -> tuple[float | None, float | None]:
    confusion = np.array(reply.confusion)
    total = int(confusion.sum())
    if not total:
        return None, None
    return float(np.trace(confusion) / total), reply.top5 / total


def _scores(replies: list[FinishReply], *, num_classes: int) -> Scores:
    """Return the scores over all clients' test clips, from their counts alone."""
    confusion: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
    for reply in replies:
        if reply.confusion:
            confusion += np.array(reply.confusion, np.int64)
    total = int(confusion.sum())
    if not total:
        raise KinestoreError("no client scored the final model; resume when they are there")
    pairs = np.argwhere(confusion)
    weights = confusion[tuple(pairs.T)]
    precision, recall, f1, _ = precision_recall_fscore_support(
        pairs[:, 0], pairs[:, 1], sample_weight=weights, average="macro", zero_division=0
    )
    return Scores(
        top1=float(np.trace(confusion) / total),
        top5=sum(reply.top5 for reply in replies) / total,
        macro_f1=float(f1),
        macro_precision=float(precision),
        macro_recall=float(recall),
        confusion=confusion,
    )


def _summary(run: Run, found: FinishedFederation, scores: Scores) -> RunSummary:
    agreement, records = found.agreement, found.history.rounds
    described = list(agreement.descriptions.values())
    num_validation = sum(one.num_validation for one in described)
    example = torch.empty(1, *agreement.like.shape, device="meta")
    sent, _ = _parameters(found)
    tested = [record for record in records if record.accuracy is not None]
    return RunSummary(
        path=run.path,
        **scores.fractions(),
        num_train=sum(one.num_train for one in described),
        num_validation=num_validation or None,
        num_test=int(scores.confusion.sum()),
        num_unlabeled=sum(one.num_unlabeled for one in described),
        num_missing=sum(one.num_missing for one in described),
        num_left_out=sum(one.num_left_out for one in described),
        model="train rows",
        classes=agreement.classes,
        config=found.asked,
        versions=versions(),
        seconds=round(found.seconds, 3),
        unscored_clients=found.unscored or None,
        wire_bytes_up=None if found.wire is None else found.wire["bytes_up"],
        wire_bytes_down=None if found.wire is None else found.wire["bytes_down"],
        best_rounds={"test": found.history.kept_round} if num_validation else None,
        cost=cost_of_model(found.model, example, sent=sent),
        best_and_last=summarize_curves(
            [
                FoldCurve(
                    name="test",
                    num_test=int(scores.confusion.sum()),
                    top1=[float(record.accuracy or 0) for record in tested],
                    top5=[float(record.top5 or 0) for record in tested],
                    chosen=found.history.kept_round if num_validation else None,
                )
            ],
            unit="round",
        )
        if len(tested) == len(records)
        else None,
    )


def _figures(
    found: FinishedFederation,
    top1: list[float | None],
    top5: list[float | None],
    traffic: Mapping[str, Any],
) -> FederatedFigures:
    agreement, records = found.agreement, found.history.rounds
    num_clients = len(agreement.members)
    described = [agreement.descriptions.get(client) for client in range(num_clients)]
    setup, sums = agreement.traffic, traffic["run"]
    best: dict[int, float] = {}
    for record in records:
        for hits in record.test_hits:
            if hits.num_clips:
                share = hits.top1 / hits.num_clips
                best[hits.client] = max(best.get(hits.client, 0.0), share)
    stages = found.job.rounds_config.algorithm.stages
    taken = [sum(c in record.participants for record in records) for c in range(num_clients)]
    spent = privacy_of(stages, rounds=max(taken, default=0))
    return FederatedFigures(
        mean_client_top1=mean_of_clients(top1),
        mean_client_top5=mean_of_clients(top5),
        client_top1=top1,
        client_top5=top5,
        client_sizes=[0 if one is None else one.num_train for one in described],
        client_num_classes=[0 if one is None else len(one.counts) for one in described],
        client_best_top1=[best.get(client) for client in range(num_clients)],
        num_unused=0,
        parameters_up=sums["parameters_up"],
        parameters_down=sums["parameters_down"],
        bytes_up=sums["bytes_up"] + setup.bytes_up,
        bytes_down=sums["bytes_down"] + setup.bytes_down,
        standardise_bytes_up=setup.bytes_up,
        standardise_bytes_down=setup.bytes_down,
        num_rejected_updates=sum(record.refused for record in records),
        rejected_updates=rejected_updates_of(records),
        privacy=None if spent is None else asdict(spent),
        left_out_clients=agreement.refused,
    )
