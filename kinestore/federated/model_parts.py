"""The parts of a model: what the server holds, what clients train, and what stays with them."""

from torch import Tensor, nn

from kinestore.federated.config import RoundsConfig
from kinestore.federated.state import ServerState
from kinestore.heads.training.optimizer import classifier_of


def initial_server_state(
    model: nn.Module, config: RoundsConfig, *, num_clients: int
) -> ServerState:
    """Return the server's state before the first round, from this model."""
    arrays, per_round = trained_arrays(model, config.freeze), config.clients_per_round
    return config.algorithm.init(
        ServerState(
            arrays=arrays,
            parameters=frozenset(name for name, _ in model.named_parameters() if name in arrays),
            num_clients=num_clients,
            per_round=num_clients if per_round is None else per_round,
        )
    )


def trained_arrays(model: nn.Module, freeze: str | None) -> dict[str, Tensor]:
    """Return the part of `starting_arrays` that clients change: with a frozen trunk the classifier.

    Clients have the frozen rest from the start, as published weights, so that no round sends it.
    """
    arrays = starting_arrays(model)
    if freeze is None:
        return arrays
    name, _ = classifier_of(model)
    prefix = f"{name}." if name else ""
    return {each: array for each, array in arrays.items() if each.startswith(prefix)}


def starting_arrays(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the model's state dict on the CPU."""
    return {name: array.detach().to("cpu", copy=True) for name, array in model.state_dict().items()}


def private_arrays(model: nn.Module, config: RoundsConfig) -> dict[str, Tensor]:
    """Return the trained tensors that the strategy leaves with each client, as they are at first.

    Raises:
        UsageError: If the strategy names a part that the model does not have.
    """
    sent = initial_server_state(model, config, num_clients=1).arrays
    trained = trained_arrays(model, config.freeze)
    return {name: array for name, array in trained.items() if name not in sent}
