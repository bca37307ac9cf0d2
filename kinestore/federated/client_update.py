"""One client's round: the same function in a simulation and a deployment."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kinestore.federated.client_data import LocalData
from kinestore.federated.stages import clip_step
from kinestore.federated.state import Arrays, ClientState, ClientUpdate, ProximalTerm
from kinestore.heads import Epoch, TrainingConfig
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.loop import OnGradients

LOCAL_SETTINGS = TrainingConfig(
    epochs=5, batch_size=128, learning_rate=1e-3, weight_decay=1e-4, device="auto"
)
"""A client's training in a round. FLAMeST prints a learning rate of .01; on standardized features
it did worse (40 rounds on 60 clips, three seeds: mean top-1 .58, not .69); the rest is as printed.
"""


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """The server's instructions to a client.

    Attributes:
        client: The client's number, from 0.
        round_number: 1 for the first.
        term: Added to the loss.
        lr_factor: Factor of the client's learning rate in this round.
        clip: Length that the server clips the client's step to; the client's memory counts the
            step as clipped too. None for no limit.
        seed: The run's seed, 0 or more.
    """

    client: int
    round_number: int
    term: ProximalTerm = field(default_factory=ProximalTerm)
    lr_factor: float = 1.0
    clip: float | None = None
    seed: int


@dataclass(frozen=True, kw_only=True)
class LocalResult:
    """Outcome of one client's round.

    Attributes:
        update: Sent to the server.
        state: Kept for the client's next round.
        last: Figures of the last local epoch; NaN without any.
    """

    update: ClientUpdate
    state: ClientState
    last: Epoch


def local_update(
    arrays: Arrays,
    config: LocalConfig,
    state: ClientState,
    *,
    model: nn.Module,
    data: LocalData,
) -> LocalResult:
    """Start from the server's tensors and one's own private ones, train, and divide the two again.

    What the server did not send never leaves the client. The optimizer is new in each round,
    and randomness depends on (seed, round_number, client) alone: not on who else takes part, nor on
    what the client did before.

    Args:
        arrays: Sent by the server; not changed.
        config: The server's instructions.
        state: Kept by the client; its private tensors complete the model.
        model: A network to work in, on any device. Its weights are overwritten, but for those that
            are frozen, which are neither sent nor private.
        data: The client's samples.
    """
    model.load_state_dict({**model.state_dict(), **arrays, **state.private})
    shared = {name: weight for name, weight in model.named_parameters() if name in arrays}
    last = data.fit(
        model,
        seed=derive_seed("client", config.seed, config.round_number, config.client),
        on_gradients=_gradient_of(config.term, shared, arrays, state.correction),
        lr_factor=config.lr_factor,
    )
    learnt = {
        name: array.detach().to("cpu", copy=True) for name, array in model.state_dict().items()
    }
    return divide_result(
        learnt, arrays, config, state, shared=shared, num_samples=len(data), last=last
    )


def divide_result(
    learnt: Arrays,
    arrays: Arrays,
    config: LocalConfig,
    state: ClientState,
    *,
    shared: Collection[str],
    num_samples: int,
    last: Epoch,
) -> LocalResult:
    """Divide a client's whole state dict into what it sends and what it keeps.

    Args:
        learnt: All tensors after training, on the CPU.
        arrays: Sent by the server.
        config: The server's instructions.
        state: Kept from the client's last round.
        shared: Names of the shared parameters.
        num_samples: Rows that the client trained on.
        last: As `LocalResult` has it.
    """
    sent = {name: learnt[name] for name in arrays}
    return LocalResult(
        update=ClientUpdate(client=config.client, num_samples=num_samples, arrays=sent),
        state=ClientState(
            private={name: learnt[name] for name in state.private},
            correction=_next_correction(config, sent, shared, arrays, state.correction),
        ),
        last=last,
    )


def _gradient_of(
    term: ProximalTerm, shared: Mapping[str, Tensor], arrays: Arrays, correction: Arrays
) -> OnGradients | None:
    """Return what adds coefficient (w - w_t) - h to the gradients; None where that is nothing.

    Frozen weights stay without a gradient.
    """
    if not term.coefficient:
        return None
    shared = {name: weight for name, weight in shared.items() if weight.requires_grad}
    weights = list(shared.values())
    offsets = [
        (term.coefficient * arrays[name] + (correction[name] if correction else 0.0)).to(
            weight.device
        )
        for name, weight in shared.items()
    ]

    def add() -> None:
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        with torch.no_grad():
            torch._foreach_add_(gradients, weights, alpha=term.coefficient)
            torch._foreach_sub_(gradients, offsets)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient

    return add


def _next_correction(
    config: LocalConfig,
    sent: Arrays,
    shared: Collection[str],
    arrays: Arrays,
    correction: Arrays,
) -> dict[str, Tensor]:
    """Return h - coefficient (w - w_t) of the shared parameters; nothing where there is no h."""
    if not config.term.dynamic:
        return {}
    if config.clip is not None:
        sent = clip_step(sent, arrays, names=sorted(shared), norm=config.clip)
    return {
        name: (correction[name] if correction else 0.0)
        - config.term.coefficient * (sent[name] - arrays[name])
        for name in shared
    }
