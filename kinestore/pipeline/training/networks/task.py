"""A net, the clips that it learns from, and how: what training and federation share.

Shape legend: n clips, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads import Standardiser
from kinestore.pipeline.training.networks.activation_checkpointing import recompute_stages
from kinestore.pipeline.training.networks.build_network import build_net, takes_segments
from kinestore.pipeline.training.networks.config import Looks, NetSettings
from kinestore.pipeline.training.networks.data.batches import Examples
from kinestore.pipeline.training.networks.data.clip_source import Source
from kinestore.pipeline.training.networks.data.transforms import MEAN, STD, choose_size, read_swaps
from kinestore.pipeline.training.networks.distributed import Processes
from kinestore.pipeline.training.networks.sgd import predict
from kinestore.store import Features, UsageError

CENTRE = Looks()
"""One look at a clip: what the figures of an epoch are measured by."""

COLOURS = Standardiser(mean=np.array(MEAN), std=np.array(STD))
"""What a run folder says of how its net's input was scaled: by colour, of pixels from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class NetTask:
    """What all fits of a job share.

    Attributes:
        rows: Labelled clips.
        examples: The same, as the net takes them.
        create: Builds the net, the same each time.
        settings: How to train.
        looks: How the final logits are taken.
        processes: Who trains together.
    """

    rows: Features
    examples: Examples
    create: Callable[[], nn.Module]
    settings: NetSettings
    looks: Looks
    processes: Processes

    def new_net(self) -> nn.Module:
        """The net before training, on the device."""
        net = self.create()
        if self.settings.recompute:
            recompute_stages(net, self._first_clip().cpu())
        return net.to(self.processes.device)

    def check(self, net: nn.Module) -> None:
        """Pass one clip through a net, so that what does not fit is refused before it starts.

        Raises:
            UsageError: If the net does not take such clips.
        """
        clip = self._first_clip()
        try:
            with torch.inference_mode():
                net.eval()(clip)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"size={self.examples.size}: clips of shape {tuple(clip.shape[1:])} do not fit the "
                f"net ({reason}); use another size or other frames"
            ) from error

    def predict(self, net: nn.Module, rows: NDArray[np.int64], looks: Looks) -> Tensor:
        """Logits of rows, the mean over all looks: float32, shape (n, K)."""
        return predict(
            net,
            self.examples,
            rows,
            num_classes=len(self.rows.classes),
            looks=looks,
            settings=self.settings,
            processes=self.processes,
        )

    def _first_clip(self) -> Tensor:
        """A batch of one, on the device."""
        batches = self.examples.testing([0], CENTRE, batch_size=1, device=self.processes.device)
        return next(batches)[:, 0]


def make_task(
    rows: Features,
    source: Source,
    *,
    head: str,
    size: int | None,
    swaps: Sequence[str],
    weights: Path | None,
    settings: NetSettings,
    looks: Looks,
    seed: int,
    processes: Processes,
) -> NetTask:
    """The task that a person describes; `pipeline.nets.train.train_net` tells of the arguments.

    Raises:
        UsageError: If net, clips and settings do not fit.
    """
    pixels = choose_size(size, source.size)
    return NetTask(
        rows=rows,
        examples=Examples(
            source=source,
            clip_ids=rows.clip_ids,
            labels=rows.labels,
            mirrored=read_swaps(swaps, rows.classes),
            size=pixels,
            in_segments=takes_segments(head),
            seed=seed,
            workers=processes.num_workers,
        ),
        create=lambda: build_net(
            head,
            num_classes=len(rows.classes),
            source=source,
            size=pixels,
            weights=weights,
            seed=seed,
        ),
        settings=settings,
        looks=looks,
        processes=processes,
    )
