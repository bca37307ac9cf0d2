"""Clients that train side by side, their weights stacked: for a GPU, which one client leaves idle.

Each learns as `heads.fit` has it: the same rows in the same batches, by the same optimiser. Sums
run in another order, so the last bits differ from those of one client after another. All shapes
stay the same from step to step, so that on a GPU a step of all clients is one CUDA graph.

Shape legend: K clients, S steps, B rows of a batch, N rows of all clients.
"""

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from kinestore.federated.client_data import LocalData, LocalRows
from kinestore.federated.client_update import LocalConfig, LocalResult, corrected
from kinestore.federated.strategy import Arrays, ClientState, ClientUpdate
from kinestore.heads import FitSettings, derive_seed

WARM_UP = 3
"""Steps before a CUDA graph is captured, as torch's documentation asks for."""


def stackable(model: nn.Module, clients: Sequence[LocalData]) -> bool:
    """Whether clients hold rows, and the model keeps no counts, draws nothing and can be stacked.

    Batch norm's counts, what dropout draws and recurrent layers are left to one client after
    another.
    """
    if not all(isinstance(data, LocalRows) for data in clients) or list(model.buffers()):
        return False
    one = next(data for data in clients if isinstance(data, LocalRows))
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


class Stack:
    """All clients' rows on one device, and room for those who take part in a round.

    Args:
        model: One that is `stackable`; it is copied.
        clients: Theirs.
        pulls: Whether any client is pulled towards the server's model.
        device: Where everything lies.
    """

    def __init__(
        self, model: nn.Module, clients: Sequence[LocalRows], *, pulls: bool, device: torch.device
    ) -> None:
        self._model = copy.deepcopy(model).to(device).train()
        self._settings = clients[0].settings
        self._features = torch.cat([data.features for data in clients]).to(device)
        self._labels = torch.cat([data.labels for data in clients]).to(device)
        self._sizes = [len(data) for data in clients]
        self._first_rows = [0, *accumulate(self._sizes)]
        self._pulls, self._device = pulls, device
        self._seats: _Seats | None = None

    def update(
        self, arrays: Arrays, configs: Sequence[LocalConfig], states: Sequence[ClientState]
    ) -> list[LocalResult]:
        """What `federated.client.local_update` gives for each of these clients."""
        if not configs:
            return []
        plan = self._plan(configs)
        seats = self._seated(len(configs))
        seats.start([{**arrays, **state.private} for state in states])
        if self._pulls:
            pulls = [config.rule.pull for config in configs]
            seats.aim(arrays, pulls, [state.correction for state in states])
        learnt = {name: array.cpu() for name, array in seats.train(plan).items()}
        losses = seats.loss.tolist()
        return [
            self._result(config, state, arrays, {n: a[k] for n, a in learnt.items()}, losses[k])
            for k, (config, state) in enumerate(zip(configs, states, strict=True))
        ]

    def _result(
        self,
        config: LocalConfig,
        state: ClientState,
        arrays: Arrays,
        learnt: Arrays,
        loss: float,
    ) -> LocalResult:
        num_samples = self._sizes[config.client]
        update = ClientUpdate(
            client=config.client,
            num_samples=num_samples,
            arrays={name: learnt[name] for name in arrays},
        )
        kept = ClientState(
            private={name: learnt[name].clone() for name in learnt if name not in arrays},
            correction=corrected(config.rule, update.arrays, arrays, arrays, state.correction),
        )
        mean = loss / num_samples if self._settings.epochs else math.nan
        return LocalResult(update=update, state=kept, loss=mean)

    def _seated(self, count: int) -> "_Seats":
        """Room for so many, kept from one round to the next."""
        if self._seats is None or len(self._seats.loss) != count:
            self._seats = _Seats(
                self._model,
                (self._features, self._labels),
                count=count,
                batch_size=min(self._settings.batch_size, max(self._sizes)),
                settings=self._settings,
                pulls=self._pulls,
            )
        return self._seats

    def _plan(self, configs: Sequence[LocalConfig]) -> "_Plan":
        """Every client's batches, as `heads.fit` draws them."""
        width, epochs = self._settings.batch_size, self._settings.epochs
        drawn: list[list[Tensor]] = []
        for config in configs:
            seed = derive_seed("client", config.seed, config.round_number, config.client)
            order = torch.Generator().manual_seed(seed)
            size, first = self._sizes[config.client], self._first_rows[config.client]
            batches: list[Tensor] = []
            for _ in range(epochs):
                batches += torch.split(first + torch.randperm(size, generator=order), width)
            drawn.append(batches)
        shape = (max(map(len, drawn)), len(drawn), min(width, max(self._sizes)))
        rows = torch.zeros(shape, dtype=torch.int64)
        share, counted = torch.zeros(2, *shape, dtype=self._features.dtype).unbind()
        for client, batches in enumerate(drawn):
            last_epoch = len(batches) - len(batches) // max(1, epochs)
            for step, batch in enumerate(batches):
                rows[step, client, : len(batch)] = batch
                share[step, client, : len(batch)] = 1 / len(batch)
                counted[step, client, : len(batch)] = step >= last_epoch
        return _Plan(
            rows=rows.to(self._device),
            share=share.to(self._device),
            counted=counted.to(self._device),
            steps=[len(batches) for batches in drawn],
        )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A round's batches; those that are not full are padded with row 0.

    Attributes:
        rows: Among those of all clients, int64, shape (S, K, B).
        share: What each counts in its batch's mean, shape (S, K, B); 0 for padding.
        counted: 1 for those of a client's last epoch, shape (S, K, B).
        steps: Of each client, S at most.
    """

    rows: Tensor
    share: Tensor
    counted: Tensor
    steps: list[int]

    def endings(self) -> Iterator[tuple[int, list[int]]]:
        """Each step, and the clients for whom it is the last."""
        for step in range(len(self.rows)):
            yield step, [client for client, count in enumerate(self.steps) if count == step + 1]


class _Seats:
    """Weights of K clients and what one step of all of them reads, always in the same memory."""

    def __init__(
        self,
        model: nn.Module,
        rows: tuple[Tensor, Tensor],
        *,
        count: int,
        batch_size: int,
        settings: FitSettings,
        pulls: bool,
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
        self.loss = self._features.new_zeros(count)
        self._pull = self._features.new_zeros(count) if pulls else None
        self._aims: dict[str, Tensor] = {}
        self._graph: torch.cuda.CUDAGraph | None = None

    def start(self, states: Sequence[Arrays]) -> None:
        """Have each client begin its round from a state dict; the optimiser forgets all."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.stack([state[name] for state in states]))
                self._ended[name].copy_(weight)
        self._forget()

    def aim(self, arrays: Arrays, pulls: Sequence[float], corrections: Sequence[Arrays]) -> None:
        """What pull (w - w_t) - h takes besides w, for the tensors that are shared."""
        for name, array in arrays.items():
            aims = [
                pull * array + (correction[name] if pull and correction else 0.0)
                for pull, correction in zip(pulls, corrections, strict=True)
            ]
            room = self._aims.setdefault(name, torch.empty_like(self._ended[name]))
            room.copy_(torch.stack(aims))
        if self._pull is not None:
            self._pull.copy_(torch.tensor(pulls, dtype=self._pull.dtype))

    def train(self, plan: _Plan) -> Mapping[str, Tensor]:
        """Take all steps; each client's weights after its own last one, (K, ...)."""
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

    def _load(self, plan: _Plan, step: int) -> None:
        self._rows.copy_(plan.rows[step])
        self._share.copy_(plan.share[step])
        self._counted.copy_(plan.counted[step])

    def _step(self) -> None:
        """One of every client; who has ended goes on in vain."""
        self._optimizer.zero_grad()
        logits = self._forward(self._weights, (self._features[self._rows],))
        each = cross_entropy(
            logits.flatten(0, 1), self._labels[self._rows].flatten(), reduction="none"
        ).view_as(self._share)
        (each * self._share).sum().backward()  # type: ignore[no-untyped-call]
        self.loss += (each.detach() * self._counted).sum(1)
        if self._pull is not None:
            for name, aim in self._aims.items():
                weight = self._weights[name]
                pull = self._pull.view(-1, *[1] * (weight.ndim - 1))
                if weight.grad is not None:
                    weight.grad += pull * weight.detach() - aim
        self._optimizer.step()

    def _forget(self) -> None:
        self.loss.zero_()
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()

    def _capture(self, plan: _Plan) -> None:
        """Record a step, and put everything back as it was."""
        before = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._load(plan, 0)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(before[name])
        self._forget()
