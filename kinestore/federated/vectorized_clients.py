"""Vectorized clients: their weights are stacked and train together, to fill a GPU.

Each learns as `heads.fit` has it: the same rows in the same batches, by the same optimizer. Sums
run in another order, so the last bits differ from those of one client after another. All shapes
stay the same from step to step, so that on a GPU a step of all clients is one CUDA graph.

Shape legend: K clients, S steps, B rows of a batch, N rows of all clients.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from kinestore.federated.batch_plan import BatchPlan, plan_batches
from kinestore.federated.client_data import NO_EPOCH, LocalData, LocalSamples
from kinestore.federated.client_update import LocalConfig, LocalResult, divide_result
from kinestore.federated.state import Arrays, ClientState
from kinestore.heads import Epoch, FeatureSamples, TrainingConfig

_PLAIN = {
    "optimizer": "adam",
    "schedule": "constant",
    "warmup": 0,
    "clip_gradients": None,
    "label_smoothing": 0.0,
    "classifier_lr": 1.0,
    "freeze": None,
    "class_weights": None,
}
"""Settings of clients that train together."""

_WARM_UP = 3
"""Steps before a CUDA graph is captured, as torch's documentation requires."""


def can_vectorize(model: nn.Module, clients: Sequence[LocalData]) -> bool:
    """Return whether clients have rows, and the model has no buffers and no randomness.

    Models with batch norm, dropout or recurrent layers train one client after another.
    """
    present = [data for data in clients if len(data)]
    samples = [_feature_samples(data) for data in present]
    one, config = samples[0], getattr(present[0], "config", None)
    if None in samples or one is None or not _is_plain_adam(config) or list(model.buffers()):
        return False
    twice = {name: array.expand(2, *array.shape) for name, array in model.state_dict().items()}
    rows = one.features[:1].to(next(model.parameters()).device)
    model.train()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")  # of a layer that would run client by client after all
            vmap(partial(functional_call, model), randomness="error")(
                twice, (rows.expand(2, *rows.shape),)
            )
    except (RuntimeError, UserWarning):
        return False
    return True


def _feature_samples(data: LocalData) -> FeatureSamples | None:
    """Return a client's rows of features, or None where it holds others."""
    samples = data.samples if isinstance(data, LocalSamples) else None
    return samples if isinstance(samples, FeatureSamples) else None


def _is_plain_adam(config: TrainingConfig | None) -> bool:
    """Return whether clients train by Adam in float32, with none of the further settings."""
    return (
        config is not None
        and config.precision in (None, "float32")
        and all(getattr(config, name) == value for name, value in _PLAIN.items())
    )


class VectorizedClients:
    """All clients' rows on one device, and slots for the clients of a round.

    Args:
        model: One that `can_vectorize`; it is copied.
        clients: Rows of each client.
        proximal: Whether any client has a proximal term.
        device: Where everything lies.
    """

    def __init__(
        self,
        model: nn.Module,
        clients: Sequence[LocalData],
        *,
        proximal: bool,
        device: torch.device,
    ) -> None:
        self._model = copy.deepcopy(model).to(device).train()
        own = [data for data in clients if isinstance(data, LocalSamples)]
        samples = [some for data in own if (some := _feature_samples(data)) is not None]
        self._settings = own[0].config
        self._features = torch.cat([some.features for some in samples]).to(device)
        self._labels = torch.cat([some.labels for some in samples]).to(device)
        self._sizes = [len(data) for data in own]
        self._proximal, self._device = proximal, device
        self._slots: _ClientSlots | None = None

    def update(
        self, arrays: Arrays, configs: Sequence[LocalConfig], states: Sequence[ClientState]
    ) -> list[LocalResult]:
        """Return what `local_update` returns for each of these clients."""
        if not configs:
            return []
        plan = plan_batches(
            configs, self._sizes, config=self._settings, dtype=self._features.dtype
        ).to(self._device)
        slots = self._slots_for(len(configs))
        slots.start([{**arrays, **state.private} for state in states])
        if self._proximal:
            coefficients = [config.term.coefficient for config in configs]
            slots.set_offsets(arrays, coefficients, [state.correction for state in states])
        learnt = {name: array.cpu() for name, array in slots.train(plan).items()}
        figures = slots.figures.T.tolist()
        return [
            self._result(config, state, arrays, {n: a[k] for n, a in learnt.items()}, figures[k])
            for k, (config, state) in enumerate(zip(configs, states, strict=True))
        ]

    def _result(
        self,
        config: LocalConfig,
        state: ClientState,
        arrays: Arrays,
        learnt: Arrays,
        sums: Sequence[float],
    ) -> LocalResult:
        num_samples = self._sizes[config.client]
        return divide_result(
            {name: array if name in arrays else array.clone() for name, array in learnt.items()},
            arrays,
            config,
            state,
            shared=arrays,
            num_samples=num_samples,
            last=_mean(sums, num_samples, epochs=self._settings.epochs),
        )

    def _slots_for(self, count: int) -> "_ClientSlots":
        """Return slots for so many clients, kept from one round to the next."""
        if self._slots is None or self._slots.figures.shape[1] != count:
            self._slots = _ClientSlots(
                self._model,
                (self._features, self._labels),
                count=count,
                batch_size=min(self._settings.batch_size, max(self._sizes)),
                settings=self._settings,
                proximal=self._proximal,
            )
        return self._slots


class _ClientSlots:
    """Weights of K clients and the inputs of one step of all, always in the same memory."""

    def __init__(
        self,
        model: nn.Module,
        rows: tuple[Tensor, Tensor],
        *,
        count: int,
        batch_size: int,
        settings: TrainingConfig,
        proximal: bool,
    ) -> None:
        self._forward = vmap(partial(functional_call, model), randomness="error")
        self._features, self._labels = rows
        device = self._features.device
        self._weights = {
            name: array.new_zeros(count, *array.shape).requires_grad_()
            for name, array in model.state_dict().items()
        }
        self._ended = {name: array.detach().clone() for name, array in self._weights.items()}
        self._optimizer = torch.optim.Adam(
            self._weights.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        self._rows = torch.zeros(count, batch_size, dtype=torch.int64, device=device)
        self._share, self._counted = self._features.new_zeros(2, count, batch_size).unbind()
        self.figures = self._features.new_zeros(3, count)  # sums of losses, top-1 and top-5 hits
        self._coefficients = self._features.new_zeros(count) if proximal else None
        self._offsets: dict[str, Tensor] = {}
        self._graph: torch.cuda.CUDAGraph | None = None

    def start(self, states: Sequence[Arrays]) -> None:
        """Start each client from a state dict, and reset the optimizer."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.stack([state[name] for state in states]))
                self._ended[name].copy_(weight)
        self._forget()

    def set_offsets(
        self, arrays: Arrays, coefficients: Sequence[float], corrections: Sequence[Arrays]
    ) -> None:
        """Set coefficient w_t + h, which the gradient of the proximal term subtracts."""
        for name, array in arrays.items():
            offsets = [
                coefficient * array + (correction[name] if coefficient and correction else 0.0)
                for coefficient, correction in zip(coefficients, corrections, strict=True)
            ]
            room = self._offsets.setdefault(name, torch.empty_like(self._ended[name]))
            room.copy_(torch.stack(offsets))
        if self._coefficients is not None:
            self._coefficients.copy_(torch.tensor(coefficients, dtype=self._coefficients.dtype))

    def train(self, plan: BatchPlan) -> Mapping[str, Tensor]:
        """Take all steps; return each client's weights after its own last one, (K, ...)."""
        if self._rows.is_cuda and self._graph is None and len(plan.rows):
            self._capture(plan)
        for step, ended in plan.endings():
            self._load(plan, step)
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
            if ended:
                for name, weight in self._weights.items():
                    self._ended[name][ended] = weight.detach()[ended]
        return self._ended

    def _load(self, plan: BatchPlan, step: int) -> None:
        self._rows.copy_(plan.rows[step])
        self._share.copy_(plan.share[step])
        self._counted.copy_(plan.counted[step])

    def _step(self) -> None:
        """Take one step of every client; weights of those that have ended are not read again."""
        self._optimizer.zero_grad()
        logits = self._forward(self._weights, (self._features[self._rows],))
        each = cross_entropy(
            logits.flatten(0, 1), self._labels[self._rows].flatten(), reduction="none"
        ).view_as(self._share)
        (each * self._share).sum().backward()  # type: ignore[no-untyped-call]
        best = logits.detach().topk(min(5, logits.shape[-1]), dim=-1).indices
        found = best == self._labels[self._rows].unsqueeze(-1)
        for sums, values in zip(
            self.figures, (each.detach(), found[..., 0], found.any(-1)), strict=True
        ):
            sums += (values * self._counted).sum(1)
        if self._coefficients is not None:
            for name, offset in self._offsets.items():
                weight = self._weights[name]
                coefficient = self._coefficients.view(-1, *[1] * (weight.ndim - 1))
                if weight.grad is not None:
                    weight.grad += coefficient * weight.detach() - offset
        self._optimizer.step()

    def _forget(self) -> None:
        self.figures.zero_()
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()

    def _capture(self, plan: BatchPlan) -> None:
        """Capture a step, and put everything back as it was."""
        before = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._load(plan, 0)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(before[name])
        self._forget()


def _mean(sums: Sequence[float], num_samples: int, *, epochs: int) -> Epoch:
    """Return a client's figures of its last epoch from their sums."""
    if not epochs:
        return NO_EPOCH
    loss, accuracy, top5 = (value / num_samples for value in sums)
    return Epoch(number=epochs, loss=loss, accuracy=accuracy, top5=top5)
