"""Building the module of a finished run, once its tensors are known to fit."""

from collections.abc import Callable

import torch
from torch import nn

from kinestore.pipeline.models.saved_run import MODEL_FILE, SavedRun
from kinestore.pipeline.runs.reader import unusable
from kinestore.pipeline.training.networks.build_network import check_state


def build_trained(
    run: SavedRun, create: Callable[[], nn.Module], *, client: int | None
) -> nn.Module:
    """Build a model with a run's weights, in evaluation mode, on the CPU.

    It is created without memory first, so that the settings of an untrusted run allocate
    nothing that its tensors do not back.

    Args:
        run: The run.
        create: Creates the model with any weights.
        client: The client whose tensors it takes, or None for the common ones.

    Raises:
        UsageError: If it cannot be created, or the tensors do not fit it.
    """
    state = run.state_of(client)
    try:
        with torch.device("meta"):
            model = create()
    except (ArithmeticError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise unusable(
            run.path, f"config.json: head {run.head!r} cannot be built: {reason}"
        ) from error
    check_state(model, state, run.path / MODEL_FILE)
    model.to_empty(device="cpu").load_state_dict(state)
    return model.eval()
