"""A recurrent network over the frames of a clip, and a classifier on its last state.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, section 2.3 (LSTM: Eqs. 17 to 22; GRU: Eqs. 23 to 26; bidirectional: Eqs. 27 to 29) and Table
2; details that the text omits are from the authors' Keras notebooks, with the same parameter
counts.

A GRU of torch equals that of Keras (reset_after=True): the reset gate scales W h + b rather than h
as in Eq. 25. So there are two biases per gate, 3 units (D + units + 2) weights; Eq. 26's z is
1 - z here. An LSTM of Keras has one bias per gate as in Eqs. 17 to 21, 4 units (D + units + 1)
weights, while that of torch has two, of which only the sum matters. Ours has none, and appends a
column of ones to the frames, whose weights are the bias.

Done differently:
    Weights use torch's default initialization, not Glorot and orthogonal, and the forget gate of
    an LSTM has no bias of 1.
    The cell "gru_paper" is the GRU of Eqs. 23 to 26 to the letter, which no notebook has.

Shape legend: B batch, T time, D width, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from kinestore.heads._printed_gru import PrintedGru
from kinestore.heads._sequence_head import (
    check_fractions,
    check_sizes,
    classifier,
    real_frames,
    transfer_classifier,
)
from kinestore.store import UsageError

Recurrent = nn.RNNBase | PrintedGru
"""A layer that returns its outputs and its last states."""

_FORMS = ("collaborative", "transfer")


def build(
    *,
    in_features: int,
    num_classes: int,
    cell: str = "gru",
    units: int = 2048,
    bidirectional: bool = False,
    dense: int = 1024,
    input_dropout: float = 0.0,
    noise: float | None = None,
    dropout: float | None = None,
    form: str = "collaborative",
) -> nn.Module:
    """Build recurrent layer, last state, noise, Linear, ReLU, dropout, Linear.

    That is the form of the paper's collaborative runs. The form "transfer", of the notebooks' runs
    on stored features, is recurrent layer, last state, Linear, noise, LeakyReLU, Linear.

    Args:
        in_features: D, width of a frame, 1 or more.
        num_classes: K, 1 or more.
        cell: "gru", "lstm", or "gru_paper", which reads forward only.
        units: Width of the state, 1 or more.
        bidirectional: Whether a second layer reads backward; the two last states are
            concatenated, the forward one first.
        dense: Width of the classifier's hidden layer, 1 or more.
        input_dropout: Fraction of the D columns dropped in training, the same for all frames of a
            clip, from 0 to below 1; the notebooks' transfer runs have 0.5.
        noise: Standard deviation of the noise added in training, 0 or more; None for 0.1, and for
            0.4 in the form "transfer".
        dropout: Fraction of the hidden layer dropped in training, from 0 to below 1; None for 0.4.
            The form "transfer" has no dropout.
        form: "collaborative" or "transfer".

    Returns:
        A `TemporalRnn`.

    Raises:
        UsageError: If a setting is out of range.
    """
    check_sizes({"in_features": in_features, "units": units})
    check_fractions({"input_dropout": input_dropout})
    if cell not in _CELLS:
        raise UsageError(f"cell={cell!r}: must be one of {', '.join(_CELLS)}")
    if form not in _FORMS:
        raise UsageError(f"form={form!r}: must be one of {', '.join(_FORMS)}")
    if form == "transfer" and dropout is not None:
        raise UsageError(f"dropout={dropout}: the form 'transfer' has none; leave it out")
    sizes = {"width": units * (1 + bidirectional), "num_classes": num_classes, "dense": dense}
    if form == "transfer":
        last = transfer_classifier(noise=0.4 if noise is None else noise, **sizes)
    else:
        last = classifier(
            noise=0.1 if noise is None else noise,
            dropout=0.4 if dropout is None else dropout,
            **sizes,
        )
    return TemporalRnn(
        in_features=in_features,
        cell=_CELLS[cell](in_features, units, bidirectional),
        input_dropout=input_dropout,
        classifier=last,
    )


class TemporalRnn(nn.Module):
    """Network from frames to logits; see `build`.

    Attributes:
        in_features: D.
        input_dropout: Drops whole columns of (B, D, T).
        cell: Recurrent layer; an input column of ones is its bias if it has no other.
        classifier: Layers from the last state to the logits.
    """

    def __init__(
        self, *, in_features: int, cell: Recurrent, input_dropout: float, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.input_dropout = nn.Dropout1d(input_dropout)
        self.cell = cell
        self.classifier = classifier

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K), which do not depend on padded frames.

        Args:
            frames: float32, shape (B, T, D), T 1 or more.
            mask: True where a frame is real, bool, shape (B, T); None if all are. Other steps are
                skipped, and the state is carried over them.

        Raises:
            UsageError: If a shape or the mask's dtype differs, or a clip has no real frame.
        """
        logits: Tensor = self.classifier(self.last_state(frames, mask))
        return logits

    def last_state(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the last state, shape (B, units), or (B, 2 units) if bidirectional."""
        frames = real_frames(frames, mask, in_features=self.in_features)
        frames = self.input_dropout(frames.transpose(1, 2)).transpose(1, 2)
        num_ones = self.cell.input_size - self.in_features
        steps = nn.functional.pad(frames, (0, num_ones), value=1.0)
        _, states = self.cell(steps if mask is None else _packed(steps, mask))
        last: Tensor = states[0] if isinstance(states, tuple) else states  # an LSTM has a pair
        return last.transpose(0, 1).flatten(1)


def _packed(steps: Tensor, mask: Tensor) -> object:
    """Return only the real steps of (B, T, D), in order, as torch's recurrent layers take them."""
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    steps = steps.take_along_dim(order[..., None], dim=1)
    return pack_padded_sequence(steps, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)


def _gru(in_features: int, units: int, bidirectional: bool) -> nn.RNNBase:
    return nn.GRU(in_features, units, batch_first=True, bidirectional=bidirectional)


def _lstm(in_features: int, units: int, bidirectional: bool) -> nn.RNNBase:
    return nn.LSTM(
        in_features + 1, units, bias=False, batch_first=True, bidirectional=bidirectional
    )


def _gru_as_printed(in_features: int, units: int, bidirectional: bool) -> PrintedGru:
    if bidirectional:
        raise UsageError("bidirectional=True: gru_paper reads forward only; take gru")
    return PrintedGru(in_features, units)


_CELLS: dict[str, Callable[[int, int, bool], Recurrent]] = {
    "gru": _gru,
    "lstm": _lstm,
    "gru_paper": _gru_as_printed,
}
