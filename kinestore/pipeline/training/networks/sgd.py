"""The loop that trains a net on clips of frames, and the one that asks it.

Shape legend: B clips, K classes.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinestore.heads import Epoch, derive_seed
from kinestore.pipeline.training.networks.config import Looks, NetSettings
from kinestore.pipeline.training.networks.data.batches import Drawn, Examples
from kinestore.pipeline.training.networks.distributed import Processes
from kinestore.store import KinestoreError

MOMENTUM = "momentum_buffer"
"""What torch's SGD calls the velocity of a parameter."""


class Diverged(KinestoreError):
    """Training came to a loss or gradient that is NaN or infinite."""


class Training:
    """A net under training by SGD, epoch after epoch.

    What an epoch does depends on the weights, the velocity and the seed alone: on a CPU, training
    that goes on from a state gives the same bits as one that was never stopped.

    Args:
        net: Takes what `Examples` gives and returns logits (B, K); trained in place.
        examples: All labelled clips.
        settings: How to train.
        seed: 0 or more; decides the order of the clips and what dropout drops.
        processes: Who trains together. A batch is dealt to them; the gradients are those of the
            whole batch, but for batch norm, which sees the share of one process.
        class_weights: What a clip of each class counts in a batch's weighted mean, shape (K,);
            None for 1.
        on_gradients: Called before each step; it may add to the gradients, as federated clients do.
    """

    def __init__(
        self,
        net: nn.Module,
        examples: Examples,
        *,
        settings: NetSettings,
        seed: int,
        processes: Processes,
        class_weights: Tensor | None = None,
        on_gradients: Callable[[], None] | None = None,
    ) -> None:
        self.net = net
        self._examples, self._settings = examples, settings
        self._seed, self._processes = seed, processes
        self._class_weights, self._on_gradients = class_weights, on_gradients
        self._shared = net if processes.count == 1 else DistributedDataParallel(net)
        self._named = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.SGD(
            _groups(list(self._named.values()), settings.weight_decay),
            lr=settings.learning_rate,
            momentum=settings.momentum,
        )

    def state(self) -> dict[str, Tensor]:
        """Weights as "net.NAME", velocities as "velocity.NAME": all that the next epoch needs."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        for name, parameter in self._named.items():
            if MOMENTUM in self._optimizer.state[parameter]:
                tensors[f"velocity.{name}"] = self._optimizer.state[parameter][MOMENTUM]
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put a state back.

        Raises:
            RuntimeError: If it is that of another net.
        """
        self.net.load_state_dict(_within(state, "net."))
        for name, velocity in _within(state, "velocity.").items():
            parameter = self._named[name]
            self._optimizer.state[parameter] = {MOMENTUM: velocity.to(parameter.device)}

    def epoch(self, number: int, rows: NDArray[np.int64]) -> Epoch:
        """One pass over some rows, the first being epoch 1.

        Raises:
            Diverged: If a loss or gradient is NaN or infinite.
        """
        settings, processes = self._settings, self._processes
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate_of(number - 1)
        rng = np.random.default_rng(derive_seed("order", self._seed, number))
        order = [self._examples.draw(row, epoch=number) for row in rng.permutation(rows).tolist()]
        steps = _steps(order, settings.batch_size)
        passes = [_passes(step, processes, settings.accumulate) for step in steps]
        flat = [clips for step in passes for clips in step]
        pictures = self._examples.training(flat, device=processes.device)
        sums = torch.zeros(2, dtype=torch.float64)
        self.net.train()
        with _seeded(derive_seed("net", self._seed, number, processes.rank), processes.device):
            for step, mine in zip(steps, passes, strict=True):
                sums += self._step(step, mine, pictures, number)
        loss, right = processes.total(sums.to(processes.device)).tolist()
        if not math.isfinite(loss):
            raise self._diverged(number)
        return Epoch(number=number, loss=loss / len(rows), accuracy=right / len(rows))

    def _step(
        self,
        step: Sequence[Drawn],
        mine: Sequence[Sequence[Drawn]],
        pictures: Iterator[Tensor],
        number: int,
    ) -> Tensor:
        """One step on all clips of `step`, of which this process sees its own; loss and hits."""
        whole = float(self._weights(step).sum())
        has_some = len(step) > self._processes.rank
        sums = torch.zeros(2, dtype=torch.float64)
        self._optimizer.zero_grad()
        for place, clips in enumerate(mine, start=1):
            is_last = place == len(mine)
            with nullcontext() if is_last else self._alone():
                labels = torch.tensor([clip.label for clip in clips]).to(self._processes.device)
                with self._arithmetic():
                    logits = self._shared(next(pictures))
                losses = nn.functional.cross_entropy(_full(logits), labels, reduction="none")
                weights = self._weights(clips).to(losses) * has_some
                # DistributedDataParallel takes the mean over the processes, not the sum.
                share = (losses * weights).sum() * (self._processes.count / max(whole, 1e-12))
                share.backward()  # type: ignore[no-untyped-call]
            if has_some:
                right = (logits.detach().argmax(1) == labels).sum()
                sums += torch.stack([losses.detach().double().sum(), right.double()]).cpu()
        if self._on_gradients is not None:
            self._on_gradients()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self._settings.clip_gradients)
        if not math.isfinite(float(norm)):  # the same in all processes: all of them stop
            raise self._diverged(number)
        self._optimizer.step()
        return sums

    def _weights(self, clips: Sequence[Drawn]) -> Tensor:
        """What each clip counts."""
        if self._class_weights is None:
            return torch.ones(len(clips))
        return self._class_weights[[clip.label for clip in clips]]

    def _alone(self) -> AbstractContextManager[None]:
        """No exchange of gradients in the block: they add up here first."""
        if isinstance(self._shared, DistributedDataParallel):
            alone: AbstractContextManager[None] = self._shared.no_sync()
            return alone
        return nullcontext()

    def _arithmetic(self) -> torch.autocast:
        return _arithmetic(self._settings, self._processes.device)

    def _diverged(self, number: int) -> "Diverged":
        return Diverged(
            f"epoch={number}: training diverged, its loss or gradient is NaN or infinite; use a "
            f"lower learning_rate than {self._settings.learning_rate:g}"
        )


def predict(
    net: nn.Module,
    examples: Examples,
    rows: NDArray[np.int64],
    *,
    num_classes: int,
    looks: Looks,
    settings: NetSettings,
    processes: Processes,
) -> Tensor:
    """Logits of rows, the mean over all looks at a clip: float32, shape (rows, K).

    The net is left in evaluation mode. Each process asks for its share, and all get all.
    """
    net.eval()
    processes.agree(net)
    logits = torch.zeros(len(rows), num_classes, device=processes.device)
    places = torch.arange(processes.rank, len(rows), processes.count)
    own = rows[places.numpy()].tolist()
    batches = examples.testing(own, looks, batch_size=settings.batch_size, device=processes.device)
    answers = []
    with torch.inference_mode(), _arithmetic(settings, processes.device):
        for seen in batches:
            each = _full(net(seen.flatten(0, 1)))
            answers.append(each.reshape(*seen.shape[:2], num_classes).mean(1))
    if answers:
        logits[places.to(processes.device)] = torch.cat(answers).to(logits)
    return processes.total(logits).cpu()


def _steps(order: Sequence[Drawn], batch_size: int) -> list[Sequence[Drawn]]:
    """As few batches as there must be, of sizes that differ by one at most.

    A last batch of the one or two clips left over would move the weights as far as a full one, by
    batch norm over almost nothing.
    """
    count = math.ceil(len(order) / batch_size)
    bounds = [len(order) * number // count for number in range(count + 1)]
    return [order[begin:end] for begin, end in itertools.pairwise(bounds)]


def _passes(step: Sequence[Drawn], processes: Processes, accumulate: int) -> list[Sequence[Drawn]]:
    """This process's clips of a step, in as many passes; one that would have none takes another's.

    Every process must take part in the exchange of gradients.
    """
    mine = step[processes.rank :: processes.count] or step[:1]
    size = math.ceil(len(mine) / accumulate)
    return [mine[at : at + size] for at in range(0, len(mine), size)]


def _groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Biases and norms, which have one dimension, do not decay."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _within(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}


def _full(logits: Tensor) -> Tensor:
    """Logits with all their digits, where the net was asked for fewer."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits


def _arithmetic(settings: NetSettings, device: torch.device) -> torch.autocast:
    default = "bfloat16" if device.type == "cuda" else "float32"
    halved = (settings.precision or default) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=halved)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what layers draw, and put the generators back after."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield
