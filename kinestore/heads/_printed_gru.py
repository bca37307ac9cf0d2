"""The GRU as printed, whose reset gate acts on the state and not on its product.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, Eqs. 23 to 26.

Shape legend: B batch, T time, D width, U units.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


class PrintedGru(nn.Module):
    """A recurrent layer that is called as torch's are; 3 U (D + U + 1) weights.

    z = sigmoid(W_z x + U_z h + b_z), r = sigmoid(W_r x + U_r h + b_r),
    n = tanh(W_n x + U_n (r h) + b_n), and the next state is (1 - z) h + z n.

    Attributes:
        input_size: D.
        inputs: W and b of z, r and n.
        gates: U of z and r.
        candidate: U of n.
    """

    def __init__(self, in_features: int, units: int) -> None:
        super().__init__()
        self.input_size = in_features
        self.inputs = nn.Linear(in_features, 3 * units)
        self.gates = nn.Linear(units, 2 * units, bias=False)
        self.candidate = nn.Linear(units, units, bias=False)

    def forward(self, steps: Tensor | PackedSequence) -> tuple[None, Tensor]:
        """Return no outputs, and the last state, shape (1, B, U).

        Args:
            steps: Shape (B, T, D), or packed sequences of several lengths.
        """
        if isinstance(steps, PackedSequence):
            steps, lengths = pad_packed_sequence(steps, batch_first=True)
        else:
            lengths = torch.full((len(steps),), steps.shape[1])
        projected = self.inputs(steps)
        state = projected.new_zeros(len(steps), self.candidate.in_features)
        for time in range(steps.shape[1]):
            update, reset, new = projected[:, time].chunk(3, dim=1)
            of_update, of_reset = self.gates(state).chunk(2, dim=1)
            update, reset = (update + of_update).sigmoid(), (reset + of_reset).sigmoid()
            new = (new + self.candidate(reset * state)).tanh()
            is_real = (time < lengths).to(state.device)[:, None]
            state = torch.where(is_real, (1 - update) * state + update * new, state)
        return None, state[None]
