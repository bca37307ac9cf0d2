"""Whether a run folder has the run of a command, or one that the command continues."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinestore.heads.training.lr_schedule import read_schedule
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.runs.earlier_names import with_current_names
from kinestore.store import UsageError
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.validated_read import read_json


def goes_on(path: Path, asked: Mapping[str, Any]) -> bool:
    """Return whether a command continues a run with more epochs or rounds; False for the same run.

    Args:
        path: Folder of an existing run.
        asked: Settings of the command.

    Raises:
        UsageError: If the run has other settings, or cannot be continued to the same bits as one
            longer run.
    """
    before = with_current_names(read_json(LocalStorage(path), "config.json"))
    now = json.loads(json_text(asked))
    for config in (before, now):
        if isinstance(settings := config.get("settings"), dict):
            settings.pop("recipe", None)  # decides nothing
    unit, was, wanted = _length(before, now)
    longer = isinstance(was, int) and isinstance(wanted, int) and wanted > was
    known = _with_length(before, wanted) if longer else before
    for key in sorted(now.keys() | known.keys()):
        if known.get(key) != now.get(key):
            raise UsageError(
                f"{path}: is a run with {key}={before.get(key)!r}, not {now.get(key)!r}; repeat "
                "its command as it was, or run without --resume"
            )
    if longer and now["job"] == "swarm" and (path / "summary.json").exists():
        raise UsageError(
            f"{path}: is a finished swarm of {was} {unit}, which keeps no positions to go on from "
            f"to {wanted}; run without --resume"
        )
    if longer and read_schedule(now["settings"]["schedule"]).kind == "cosine":
        raise UsageError(
            f"{path}: is a run with {unit}={was} and schedule='cosine', where each learning rate "
            f"depends on the last of the {unit}: going on to {unit}={wanted} would not be one "
            "longer run; run without --resume"
        )
    return longer


def _length(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, object, object]:
    """Return what a job counts, and how many of them the run has and the command wants."""
    if now["job"] == "federate":
        return "rounds", before.get("rounds"), now["rounds"]
    settings = before.get("settings")
    was = settings.get("epochs") if isinstance(settings, dict) else None
    return "epochs", was, now["settings"]["epochs"]


def _with_length(config: Mapping[str, Any], length: object) -> dict[str, object]:
    if config["job"] == "federate":
        return {**config, "rounds": length}
    return {**config, "settings": {**config["settings"], "epochs": length}}
