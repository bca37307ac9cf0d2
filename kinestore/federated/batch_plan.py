"""Batches of the clients of a round, as tensors of one shape.

Shape legend: K clients, S steps, B rows of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from kinestore.federated.client_update import LocalConfig
from kinestore.heads import TrainingConfig
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.loop import epoch_order, equal_batches


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchPlan:
    """Batches of a round; those that are not full are padded with row 0.

    Attributes:
        rows: Numbers among the rows of all clients, int64, shape (S, K, B).
        share: Weight of each row in its batch's mean, shape (S, K, B); 0 for padding.
        counted: 1 for rows of a client's last epoch, shape (S, K, B).
        steps: Number of each client's steps, S at most.
    """

    rows: Tensor
    share: Tensor
    counted: Tensor
    steps: list[int]

    def to(self, device: torch.device) -> "BatchPlan":
        """Return the plan on a device."""
        rows, share, counted = (t.to(device) for t in (self.rows, self.share, self.counted))
        return replace(self, rows=rows, share=share, counted=counted)

    def endings(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each step, and the clients for whom it is the last."""
        for step in range(len(self.rows)):
            yield step, [client for client, count in enumerate(self.steps) if count == step + 1]


def plan_batches(
    configs: Sequence[LocalConfig],
    sizes: Sequence[int],
    *,
    config: TrainingConfig,
    dtype: torch.dtype,
) -> BatchPlan:
    """Return the batches of a round's clients, as the training loop draws them.

    Args:
        configs: The clients of the round.
        sizes: Rows of every client; those of one client follow those of the one before.
        config: A client's training in one round.
        dtype: Type of the weights of rows.
    """
    first_rows, drawn = [0, *accumulate(sizes)], list[list[Tensor]]()
    for client in configs:
        seed = derive_seed("client", client.seed, client.round_number, client.client)
        size, first = sizes[client.client], first_rows[client.client]
        own = np.arange(first, first + size)
        batches: list[Tensor] = []
        for epoch in range(1, config.epochs + 1):
            order = torch.from_numpy(epoch_order(own, seed=seed, epoch=epoch))
            batches += [order[list(batch)] for batch in equal_batches(size, config.batch_size)]
        drawn.append(batches)
    shape = (max(map(len, drawn)), len(drawn), min(config.batch_size, max(sizes)))
    rows = torch.zeros(shape, dtype=torch.int64)
    share, counted = torch.zeros(2, *shape, dtype=dtype).unbind()
    for number, batches in enumerate(drawn):
        last_epoch = len(batches) - len(batches) // max(1, config.epochs)
        for step, batch in enumerate(batches):
            rows[step, number, : len(batch)] = batch
            share[step, number, : len(batch)] = 1 / len(batch)
            counted[step, number, : len(batch)] = step >= last_epoch
    return BatchPlan(rows=rows, share=share, counted=counted, steps=[len(each) for each in drawn])
