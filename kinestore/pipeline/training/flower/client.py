"""A client's job: it answers the server until the end, and writes a run folder of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kinestore.federated.flower_app.certificates import CLIENT_NAME, check_private_key
from kinestore.federated.flower_app.client_app import build_client_app
from kinestore.federated.flower_app.supernode import NodeConfig, serve_client
from kinestore.heads import score
from kinestore.pipeline.runs.client_partition import write_client_partition
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.training_clips import write_training_clips
from kinestore.pipeline.runs.writer import open_run, versions
from kinestore.pipeline.training.flower.flower_log import flower_log
from kinestore.pipeline.training.flower.prepared_site import num_left_out
from kinestore.pipeline.training.flower.site import FeatureSite, FinalModel
from kinestore.pipeline.training.run_figures import predictions_of
from kinestore.store import Features, KinestoreError, UsageError

_PATIENCE_SECONDS = 300.0
"""Seconds without a connection after which a client gives up."""


def join_federation(
    features: Features,
    *,
    server: str,
    folder: Path,
    keys: Path | None,
    name: str | None = None,
    patience: float = _PATIENCE_SECONDS,
    say: Callable[[str], None],
) -> RunSummary | None:
    """Take part in a federation until the server ends it.

    Args:
        features: The client's clips, as `Store.load` gives them; none of them leaves this machine.
        server: host:port of the server.
        folder: For the client's states, logs and, in the end, its run in the folder "run"; keep it
            until then.
        keys: Folder with this client's key and the server's ca.pem; None for no TLS and no key.
        name: The client's name, where it has no key.
        patience: Seconds without a connection after which the client gives up.
        say: Takes what a person should know.

    Returns:
        The summary of the client's own run; None where it has no test clip.

    Raises:
        UsageError: If the request does not allow it.
        KinestoreError: If the server is not reached, or refuses the client.
    """
    key = None if keys is None else private_key_of(keys)
    known = key.stem if key is not None else name
    if known is None or not CLIENT_NAME.fullmatch(known):
        raise UsageError(
            f"name={known!r}: must have 1 to 40 lower-case letters, digits and hyphens; the server "
            "knows a client without a key by it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    site = FeatureSite(features, name=known, folder=folder / "states")
    node = NodeConfig(
        server=server,
        authority=None if keys is None else keys / "ca.pem",
        key=key,
        folder=folder,
        patience=patience,
    )
    with flower_log(folder / "client.log"):
        app = build_client_app(site)
        serve_client(node, app, is_over=lambda: site.ended is not None, say=say)
    if site.ended:
        raise KinestoreError(f"the server refused this client: {site.ended}")
    return None if site.final is None else write_client_run(site.final, folder / "run")


def private_key_of(folder: Path) -> Path:
    """Return the private key in a client's folder, which has one and the server's ca.pem.

    Raises:
        UsageError: If there is none, or several.
    """
    found = sorted(folder.glob("*.key"))
    if len(found) != 1 or not (folder / "ca.pem").is_file():
        raise UsageError(
            f"certificates={folder}: must hold ca.pem and one .key; take the folder keys/NAME that "
            "`kinestore federation certificates` made"
        )
    check_private_key(found[0])
    return found[0]


def write_client_run(final: FinalModel, out: Path) -> RunSummary | None:
    """Write a run folder with the client's own model and its predictions of its own test clips."""
    site, rows, fold = final.site, final.site.rows, final.site.fold
    if not len(fold.test):
        return None
    job, client = site.job, site.setup.client
    shape = rows.features.shape
    asked: dict[str, object] = {
        "job": "federate",
        "head": job.head,
        "features": rows.views,
        "clips": rows.fingerprint,
        "input": {
            "features": rows.feature_names,
            "widths": rows.widths,
            "num_frames": shape[1] if len(shape) == 3 else None,
        },
        "strategy": job.strategy,
        "partition": "machines",
        "clients": client + 1,
        "rounds": job.rounds,
        "settings": job.to_json()["training"],
        "seed": job.seed,
    }
    scores = score(final.logits, torch.from_numpy(rows.labels[fold.test]), len(rows.classes))
    owners = np.full(len(fold.test), client)
    predictions = predictions_of(rows, [fold], [final.logits], owners=[owners])
    summary = RunSummary(
        path=out,
        **scores.fractions(),
        num_train=len(fold.train),
        num_test=len(fold.test),
        num_unlabeled=site.num_unlabeled,
        num_missing=len(rows.missing),
        num_left_out=num_left_out(rows, fold),
        num_validation=len(fold.validation) or None,
        model="train rows",
        classes=rows.classes,
        config=asked,
        versions=versions(),
        seconds=0.0,
    )
    site.model.load_state_dict(final.state)
    with open_run(out, asked, columns=("round",)) as run:
        run.write_model(site.model, site.ready.standardizer)
        write_training_clips(
            run.path,
            [rows.clip_ids[row] for row in fold.train],
            [rows.clip_ids[row] for row in fold.validation],
        )
        write_client_partition(run.path, rows, {client: fold.train})
        run.finish(summary, predictions)
    return replace(summary, path=out)
