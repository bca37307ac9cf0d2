"""The training loop of heads and networks, for central training and for clients.

Shape legend: B samples of a pass, K classes.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinestore.heads.support.seeds import check_seed, derive_seed
from kinestore.heads.support.threads import threads_for
from kinestore.heads.training.config import TrainingConfig
from kinestore.heads.training.optimizer import freeze_trunk, new_optimizer, set_training_mode
from kinestore.heads.training.processes import ONE_PROCESS, Processes
from kinestore.heads.training.samples import Samples
from kinestore.store import KinestoreError

OnGradients = Callable[[], None]
"""Called before each optimizer step; it may add to the gradients, as federated clients do."""


class Diverged(KinestoreError):
    """Training came to a loss or gradient that is NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Figures of one pass over the training samples.

    Attributes:
        number: 1 for the first.
        loss: Mean cross-entropy over the samples, each taken just before its batch's step; binary
            cross-entropy where samples have several labels.
        accuracy: Fraction of the samples predicted correctly at that same moment.
        top5: Fraction whose class is among the five highest logits then.
    """

    number: int
    loss: float
    accuracy: float
    top5: float


class Training:
    """A model under training, epoch after epoch.

    An epoch depends on the weights, the optimizer's state and the seed alone: on a CPU, training
    that resumes from a state gives the same bits as training that was never stopped. The global
    random generator is neither read nor moved.

    Args:
        model: Takes the samples' inputs and returns logits (B, K); trained in place.
        samples: The training samples.
        config: How to train.
        seed: 0 or more; decides order, augmentation and dropout.
        processes: The processes that share each batch. Gradients are those of the whole batch, but
            for batch norm, which sees the share of one process.
        class_weights: Weight of each class in a batch's weighted mean, shape (K,); None for 1. The
            figures of an epoch are not weighted.
        on_gradients: See `OnGradients`.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        *,
        config: TrainingConfig,
        seed: int,
        processes: Processes = ONE_PROCESS,
        class_weights: Tensor | None = None,
        on_gradients: OnGradients | None = None,
    ) -> None:
        self.model = model
        self._samples, self._config = samples, config
        self._seed, self._processes = check_seed(seed), processes
        self._class_weights, self._on_gradients = class_weights, on_gradients
        self._rates = config.rate_schedule(config.epochs)
        if config.freeze == "trunk":
            freeze_trunk(model)
        self._parallel = model if processes.count == 1 else DistributedDataParallel(model)
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._optimizer = new_optimizer(model, config)

    def state(self) -> dict[str, Tensor]:
        """Return the weights as "model.NAME" and the optimizer's state as "optimizer.KEY.NAME"."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self._named.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned.

        Raises:
            RuntimeError: If it is the state of another model.
        """
        weights = {k.removeprefix("model."): t for k, t in state.items() if k.startswith("model.")}
        self.model.load_state_dict(weights)
        for key, tensor in state.items():
            if key.startswith("optimizer."):
                _, kind, name = key.split(".", maxsplit=2)
                parameter = self._named[name]
                self._optimizer.state[parameter][kind] = tensor.to(parameter.device)

    def epoch(self, number: int, rows: NDArray[np.int64]) -> Epoch:
        """Pass over some samples once, the first being epoch 1.

        Raises:
            Diverged: If a loss or gradient is NaN or infinite.
        """
        config, processes = self._config, self._processes
        rate = config.learning_rate * self._rates.factor(number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        order = epoch_order(rows, seed=self._seed, epoch=number)
        shown = self._samples.epoch(order, number=number, seed=self._seed)
        steps = equal_batches(len(order), config.batch_size)
        passes = [_own_passes(step, processes, config.accumulate) for step in steps]
        inputs = shown.inputs([one for step in passes for one in step], processes.device)
        first = next(inputs)
        inputs = itertools.chain([first], inputs)
        sums = torch.zeros(3, dtype=torch.float64)
        set_training_mode(self.model, config)
        seed = derive_seed("net", self._seed, number, processes.rank)
        with threads_for(self.model, first, passes=3), _seeded(seed, processes.device):
            for step, own in zip(steps, passes, strict=True):
                sums += self._step(step, own, shown.labels, inputs, number)
        loss, *hits = processes.total(sums.to(processes.device)).tolist()
        if not math.isfinite(loss):
            raise self._diverged(number)
        accuracy, top5 = (count / len(rows) for count in hits)
        return Epoch(number=number, loss=loss / len(rows), accuracy=accuracy, top5=top5)

    def _step(
        self,
        step: Sequence[int],
        own: Sequence[Sequence[int]],
        labels: Tensor,
        inputs: Iterator[Tensor],
        number: int,
    ) -> Tensor:
        """Take one step on all samples of `step`; return this process's loss and hits."""
        whole = float(self._weights(labels[list(step)]).sum())
        has_some = len(step) > self._processes.rank
        sums = torch.zeros(3, dtype=torch.float64)
        self._optimizer.zero_grad()
        for place, positions in enumerate(own, start=1):
            with nullcontext() if place == len(own) else self._without_exchange():
                wanted = labels[list(positions)]
                weights = self._weights(wanted)
                wanted = wanted.to(self._processes.device)
                with mixed_precision(self._config, self._processes.device):
                    logits = full_precision(self._parallel(next(inputs)))
                losses = self._losses(logits, wanted)
                weights = weights.to(losses) * has_some
                # DistributedDataParallel takes the mean over the processes, not the sum.
                share = (losses * weights).sum() * (self._processes.count / max(whole, 1e-12))
                share.backward()  # type: ignore[no-untyped-call]
            if has_some:
                sums += _figures(logits.detach(), wanted, losses.detach(), self._config)
        if self._on_gradients is not None:
            self._on_gradients()
        self._clip_gradients(number)
        self._optimizer.step()
        return sums

    def _losses(self, logits: Tensor, wanted: Tensor) -> Tensor:
        smoothing = self._config.label_smoothing
        if wanted.is_floating_point():
            return binary_losses(logits, wanted)
        return nn.functional.cross_entropy(
            logits, wanted, reduction="none", label_smoothing=smoothing
        )

    def _clip_gradients(self, number: int) -> None:
        limit = self._config.clip_gradients
        if limit is None:
            return
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not math.isfinite(float(norm)):  # the same in all processes: all of them stop
            raise self._diverged(number)

    def _weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each sample in the loss."""
        if self._class_weights is None:
            return torch.ones(len(labels))
        return self._class_weights[labels]

    def _without_exchange(self) -> AbstractContextManager[None]:
        """Add gradients up without exchanging them between processes."""
        if isinstance(self._parallel, DistributedDataParallel):
            unsynchronized: AbstractContextManager[None] = self._parallel.no_sync()
            return unsynchronized
        return nullcontext()

    def _diverged(self, number: int) -> Diverged:
        return Diverged(
            f"epoch={number}: training diverged, its loss or gradient is NaN or infinite; use a "
            f"lower learning_rate than {self._config.learning_rate:g}"
        )


def epoch_order(rows: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows in the order of one epoch, drawn from the seed and the epoch alone."""
    return np.random.default_rng(derive_seed("order", seed, epoch)).permutation(rows)


def equal_batches(num_samples: int, batch_size: int) -> list[range]:
    """Divide positions 0 to num_samples - 1 into as few batches as possible, as equal as possible.

    A last batch of the one or two samples left over would move the weights as far as a full one,
    and batch norm cannot train on one.
    """
    count = math.ceil(num_samples / batch_size)
    bounds = [num_samples * number // count for number in range(count + 1)]
    return [range(begin, end) for begin, end in itertools.pairwise(bounds)]


def _own_passes(step: Sequence[int], processes: Processes, accumulate: int) -> list[Sequence[int]]:
    """Divide this process's share of a step into passes; without any, take another's.

    Every process must take part in the exchange of gradients.
    """
    own = step[processes.rank :: processes.count] or step[:1]
    size = math.ceil(len(own) / accumulate)
    return [own[at : at + size] for at in range(0, len(own), size)]


def binary_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return each sample's binary cross-entropy, the mean over the classes: shape (B,)."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def _figures(logits: Tensor, wanted: Tensor, losses: Tensor, config: TrainingConfig) -> Tensor:
    """Return the sum of the losses, without label smoothing, and top-1 and top-5 hits: float64."""
    if wanted.is_floating_point():  # the label with the highest logit
        wanted = logits.masked_fill(wanted == 0, -torch.inf).argmax(1)
    elif config.label_smoothing:
        losses = nn.functional.cross_entropy(logits, wanted, reduction="none")
    correct = (logits.argmax(1) == wanted).sum()
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    among = (best == wanted[:, None]).any(1).sum()
    return torch.stack([losses.double().sum(), correct.double(), among.double()]).cpu()


def full_precision(logits: Tensor) -> Tensor:
    """Return bfloat16 logits as float32, others as they are."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits


def mixed_precision(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Return the autocast context of a config: bfloat16 by default on a GPU alone."""
    default = "bfloat16" if device.type == "cuda" else "float32"
    is_half = (config.precision or default) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what layers draw, and restore the generators afterwards."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield
