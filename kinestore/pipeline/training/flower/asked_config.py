"""Entries of config.json of a federation across machines."""

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.runs.reader import is_run
from kinestore.pipeline.training.flower.agreement import Agreement
from kinestore.pipeline.training.flower.job import FederationJob
from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.validated_read import read_json

_OF_THE_RUN = ("features", "input", "federation", "present_clients")
"""Entries that a continued run keeps; "federation" distinguishes two runs of one command."""

AskedConfig = dict[str, object]
"""Entries of config.json."""


def asked_of(job: FederationJob, names: Sequence[str], earlier: str | Path | None) -> AskedConfig:
    """Return what config.json holds: that of a federated run, and the names of the clients.

    Args:
        job: What is learned.
        names: Names of the clients.
        earlier: Folder of a run to continue, whose features stay; None for a new run.
    """
    values = job.to_json()
    asked: AskedConfig = {
        "job": "federate",
        "head": job.head,
        "strategy": job.strategy,
        "partition": "machines",
        "clients": len(names),
        "client_names": list(names),
        "rounds": job.rounds,
        "clients_per_round": job.clients_per_round,
        "min_clips": job.min_clips,
        "evaluation": f"each client's own clips, split={job.evaluation.split!r}, "
        f"test_split={job.evaluation.test_split!r}",
        "validation": job.evaluation.validation,
        "patience": job.evaluation.patience,
        "settings": values["training"],
        "seed": job.seed,
        "federation": secrets.token_hex(8),
    }
    if earlier is not None and is_run(local_path(earlier)):
        before = read_json(LocalStorage(local_path(earlier)), "config.json")
        asked |= {name: before[name] for name in _OF_THE_RUN if name in before}
    return asked


def with_agreement(asked: AskedConfig, agreement: Agreement, names: Sequence[str]) -> AskedConfig:
    """Return config.json with the features that were agreed on, and the clients that take part.

    Raises:
        UsageError: If the run that is continued has others.
        KinestoreError: If it has other clients than those that are connected.
    """
    present = [names[client] for client in sorted(agreement.descriptions)]
    _check_present(asked, present)
    like = agreement.like
    views = [name.split(":")[0] for name in like.features]
    found: AskedConfig = {
        "features": views,
        "present_clients": present,
        "input": {
            "features": like.features,
            "widths": like.widths,
            "num_frames": like.shape[0] if len(like.shape) == 2 else None,
        },
    }
    for name, value in found.items():
        if asked.get(name, value) != value:
            raise UsageError(
                f"{name}={asked[name]}: is what the run began with, and clients now have {value}; "
                "begin a new run"
            )
    return {**asked, **found}


def _check_present(asked: AskedConfig, present: Sequence[str]) -> None:
    """Refuse to continue a run without one of its clients, or with another."""
    before = asked.get("present_clients", present)
    if not isinstance(before, list) or before == present:
        return
    if absent := sorted(set(before) - set(present)):
        raise KinestoreError(
            f"clients {', '.join(absent)}: take part in this run and are not connected; start "
            "them, and resume"
        )
    more = sorted(set(present) - set(before))
    raise KinestoreError(
        f"clients {', '.join(more)}: were not there when this run began; stop them and resume, or "
        "begin a new run"
    )


def identity_of(asked: AskedConfig) -> str:
    """Return 32 hex digits of what is learned, whatever the number of rounds."""
    known = {
        name: value
        for name, value in asked.items()
        if name not in ("rounds", "input", "features", "present_clients")
    }
    return hashlib.sha256(json_text(known).encode()).hexdigest()[:32]
