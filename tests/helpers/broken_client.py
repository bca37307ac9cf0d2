"""A client whose updates no server accepts."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from kinestore.federated import local_clients
from kinestore.federated.client_update import LocalConfig, LocalResult, local_update
from kinestore.federated.state import Arrays, ClientState


def break_client(monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    """Let one client send NaN in every round."""

    def update(arrays: Arrays, config: LocalConfig, state: ClientState, **rest: Any) -> LocalResult:
        result = local_update(arrays, config, state, **rest)
        if config.client != broken:
            return result
        nan = {name: torch.full_like(array, torch.nan) for name, array in arrays.items()}
        return replace(result, update=replace(result.update, arrays=nan))

    monkeypatch.setattr(local_clients, "local_update", update)
