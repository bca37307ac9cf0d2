"""A recurrent network over the frames of a clip, and a classifier on its last state.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, section 2.3 (LSTM: Eqs. 17 to 22; GRU: Eqs. 23 to 26; both ways: Eqs. 27 to 29) and Table 2;
where the text is silent, the authors' Keras notebooks, whose parameter counts are met exactly.

A GRU of torch is that of Keras (reset_after=True): the reset gate scales W h + b rather than h as
in Eq. 25, and so there are two biases a gate, 3 units (D + units + 2) weights; Eq. 26's z is
1 - z here. An LSTM of Keras has one bias a gate as in Eqs. 17 to 21, 4 units (D + units + 1)
weights, where that of torch has two, of which only the sum matters: ours has none, and a column of
ones beside the frames, whose weights are the bias.

Done differently:
    Weights start as torch's layers draw them: not from Glorot's range and orthogonal, and an
    LSTM's forget gate has no bias of 1.
    The notebooks' transfer runs add noise after the hidden layer, where ours is always before it.

Shape legend: B batch, T time, D width, K classes.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from kinestore.heads._sequence_head import (
    check_fractions,
    check_sizes,
    classifier,
    real_frames,
    refuse_clips,
)
from kinestore.store import UsageError


def build(
    *,
    in_features: int,
    num_classes: int,
    cell: str = "gru",
    units: int = 2048,
    bidirectional: bool = False,
    dense: int = 1024,
    input_dropout: float = 0.0,
    noise: float = 0.1,
    dropout: float = 0.4,
) -> nn.Module:
    """Recurrent layer, last state, noise, Linear, ReLU, dropout, Linear.

    Args:
        in_features: D, width of a frame, 1 or more.
        num_classes: K, 1 or more.
        cell: "gru" or "lstm".
        units: Width of the state, 1 or more.
        bidirectional: Whether a second layer reads backwards; the two last states stand side by
            side, the forward one first.
        dense: Width of the classifier's hidden layer, 1 or more.
        input_dropout: Share of the D columns dropped in training, the same for all frames of a
            clip, from 0 to below 1; the notebooks' transfer runs have 0.5.
        noise: Standard deviation of what is added to the state in training, 0 or more.
        dropout: Share of the hidden layer dropped in training, from 0 to below 1.

    Returns:
        A `TemporalRnn`.

    Raises:
        UsageError: If a setting is out of range.
    """
    check_sizes({"in_features": in_features, "units": units})
    check_fractions({"input_dropout": input_dropout})
    if cell not in _CELLS:
        raise UsageError(f"cell={cell!r}: must be one of {', '.join(_CELLS)}")
    return TemporalRnn(
        in_features=in_features,
        cell=_CELLS[cell](in_features, units, bidirectional),
        input_dropout=input_dropout,
        classifier=classifier(
            width=units * (1 + bidirectional),
            num_classes=num_classes,
            dense=dense,
            noise=noise,
            dropout=dropout,
        ),
    )


class TemporalRnn(nn.Module):
    """Frames to logits; `build` has the parts.

    Attributes:
        in_features: D.
        input_dropout: Drops whole columns of (B, D, T).
        cell: Takes D columns, and one of ones for its bias if it has no other.
        classifier: From the last state to the logits.
    """

    def __init__(
        self, *, in_features: int, cell: nn.RNNBase, input_dropout: float, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.input_dropout = nn.Dropout1d(input_dropout)
        self.cell = cell
        self.classifier = classifier

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, K), which padded frames do not touch.

        Args:
            frames: float32, shape (B, T, D), T 1 or more.
            mask: True where a frame is real, bool, shape (B, T): True at the start of a clip, and
                False from some frame on; None if all are real.

        Raises:
            UsageError: If a shape or the mask's dtype is another, a clip has no real frame, or one
                after padding.
        """
        logits: Tensor = self.classifier(self.last_state(frames, mask))
        return logits

    def last_state(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """The state after the last real frame, shape (B, units), or (B, 2 units) both ways."""
        frames = real_frames(frames, mask, in_features=self.in_features)
        frames = self.input_dropout(frames.transpose(1, 2)).transpose(1, 2)
        num_ones = self.cell.input_size - self.in_features
        steps = nn.functional.pad(frames, (0, num_ones), value=1.0)
        _, states = self.cell(steps if mask is None else _packed(steps, mask))
        last: Tensor = states[0] if isinstance(states, tuple) else states  # an LSTM has a pair
        return last.transpose(0, 1).flatten(1)


def _packed(steps: Tensor, mask: Tensor) -> object:
    """Only the real steps, (B, T, D) as torch's recurrent layers take them."""
    refuse_clips(
        (mask[:, 1:] & ~mask[:, :-1]).any(1),
        "has a real frame after a padded one; move the padding to the end",
    )
    return pack_padded_sequence(steps, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)


def _gru(in_features: int, units: int, bidirectional: bool) -> nn.RNNBase:
    return nn.GRU(in_features, units, batch_first=True, bidirectional=bidirectional)


def _lstm(in_features: int, units: int, bidirectional: bool) -> nn.RNNBase:
    return nn.LSTM(
        in_features + 1, units, bias=False, batch_first=True, bidirectional=bidirectional
    )


_CELLS: dict[str, Callable[[int, int, bool], nn.RNNBase]] = {"gru": _gru, "lstm": _lstm}
