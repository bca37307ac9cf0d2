"""Small heads compute on one thread, so that they do not wait for busy cores."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from kinestore.heads import TrainingConfig, fit, predict_logits
from kinestore.heads.support import threads


class Recorder(nn.Module):
    """A linear head that notes the number of threads of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.noted: list[int] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.noted.append(torch.get_num_threads())
        return self.layer(rows.mean(1) if rows.ndim == 3 else rows)  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(6, 8), (6, 5, 8)])
def test_a_small_head_trains_and_predicts_on_one_thread(shape: tuple[int, ...]) -> None:
    head, rows = Recorder(), torch.rand(shape)
    fit(head, rows, torch.arange(6) % 3, config=TrainingConfig(epochs=2), seed=0)
    predict_logits(head, rows)
    assert head.noted == [1, 1, 1] and torch.get_num_threads() == 2


def test_a_large_pass_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    head, rows = Recorder(), torch.rand(6, 8)
    monkeypatch.setattr(threads, "SMALL_PASS", 2.0 * 3 * 27 * 6)  # 8 x 3 weights and 3 biases
    fit(head, rows, torch.arange(6) % 3, config=TrainingConfig(epochs=1), seed=0)
    assert head.noted == [2]
    predict_logits(head, rows)  # a forward pass alone is a third of it
    assert head.noted == [2, 1]


def test_frames_keep_their_threads() -> None:
    with threads.threads_for(Recorder(), torch.rand(1, 2, 3, 4), passes=3):
        assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error() -> None:
    with pytest.raises(KeyError), threads.threads_for(Recorder(), torch.rand(1, 8), passes=1):
        raise KeyError
    assert torch.get_num_threads() == 2
