"""Linear layers by the quicker library are `torch.nn.Linear` but for rounding."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinestore.heads import _onednn_linear as _products
from kinestore.heads import create, quicken
from kinestore.heads._correlation_op import correlate, surrounded
from kinestore.heads._onednn_linear import LEAST_WORK, Linear, inner

ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
needs_onednn = pytest.mark.skipif(not ONEDNN, reason="PyTorch was built without oneDNN")


@pytest.fixture(params=[pytest.param(True, marks=needs_onednn), False])
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this machine is taken for one on which oneDNN is quicker, whatever it is."""
    monkeypatch.setattr(_products, "onednn_is_quicker", lambda: request.param)
    return bool(request.param)


def layers(*, bias: bool = True) -> tuple[nn.Module, nn.Linear]:
    """Ours, and the library's with the same weights, in float64."""
    torch.manual_seed(0)
    plain = nn.Linear(300, 200, bias=bias)
    ours = quicken(nn.Linear(300, 200, bias=bias))
    ours.load_state_dict(plain.state_dict())
    return ours, plain.double()


ROWS = {
    "rows": torch.randn(100, 300, generator=torch.Generator().manual_seed(1)),
    "sequences": torch.randn(7, 20, 300, generator=torch.Generator().manual_seed(1)),
    "a view": torch.randn(300, 200, generator=torch.Generator().manual_seed(1))[:, ::2].t(),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradients_are_those_of_float64(rows: Tensor, bias: bool, quick: bool) -> None:
    assert rows.numel() * 200 >= LEAST_WORK
    ours, plain = layers(bias=bias)
    mine, theirs = rows.clone().requires_grad_(), rows.double().requires_grad_()
    out, wanted = ours(mine), plain(theirs)
    pull = torch.randn(wanted.shape, dtype=torch.float64)
    out.backward(pull.float())
    wanted.backward(pull)
    got = [out, mine.grad, *(weight.grad for weight in ours.parameters())]
    known = [wanted, theirs.grad, *(weight.grad for weight in plain.parameters())]
    for one, other in zip(got, known, strict=True):
        assert (one.double() - other).norm() < 1e-6 * other.norm()


@needs_onednn
def test_it_is_onednn_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = layers()
    monkeypatch.setattr(_products, "onednn_is_quicker", lambda: True)
    assert torch.equal(ours(ROWS["rows"]), inner(ROWS["rows"], *ours.parameters()))
    assert type(ours(ROWS["rows"]).grad_fn).__name__ == "_LinearBackward"


def test_small_products_and_other_types_are_the_librarys_to_the_bit(quick: bool) -> None:
    ours, _ = layers()
    few = ROWS["rows"][:2]
    assert torch.equal(ours(few), nn.functional.linear(few, *ours.parameters()))
    assert ours(few[0]).shape == (200,)
    assert ours(few[:0]).shape == (0, 200)
    ours.double()
    rows = ROWS["rows"].double()
    assert torch.equal(ours(rows), nn.functional.linear(rows, *ours.parameters()))


def test_autocast_decides_the_type(quick: bool) -> None:
    ours, _ = layers()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(ROWS["rows"]).dtype is torch.bfloat16


def test_frozen_weights_get_no_gradient(quick: bool) -> None:
    ours, _ = layers()
    ours.requires_grad_(False)
    rows = ROWS["rows"].clone().requires_grad_()
    ours(rows).sum().backward()
    assert rows.grad is not None
    assert [weight.grad for weight in ours.parameters()] == [None, None]


def test_many_layers_at_once_are_each_by_itself(quick: bool) -> None:
    ours, plain = layers()
    weights = {name: torch.stack([w, 2 * w]) for name, w in ours.state_dict().items()}
    weights = {name: weight.requires_grad_() for name, weight in weights.items()}
    out = torch.vmap(lambda own: torch.func.functional_call(ours, own, ROWS["rows"]))(weights)
    wanted = plain(ROWS["rows"].double())
    assert (out.double() - torch.stack([wanted, 2 * wanted])).norm() < 1e-6 * out.norm()
    out.sum().backward()
    wanted.sum().backward()
    for (_, weight), known in zip(weights.items(), plain.parameters(), strict=True):
        assert weight.grad is not None and known.grad is not None
        assert (weight.grad[1].double() - known.grad).norm() < 1e-6 * known.grad.norm()


def test_only_plain_layers_are_quickened_and_the_tensors_stay() -> None:
    class Other(nn.Linear):
        pass

    network = nn.Sequential(nn.Linear(3, 4), Other(4, 5), nn.MultiheadAttention(6, 2))
    before = dict(network.named_parameters())
    quicken(network)
    assert [type(layer) for layer in network[:2]] == [Linear, Other]
    assert type(network[2].out_proj) is not Linear
    for name, weight in network.named_parameters():
        assert weight is before[name]


def test_heads_are_quickened() -> None:
    assert type(create("mlp", in_features=5, num_classes=2).get_submodule("0")) is Linear


def test_correlation_is_the_same_by_either(monkeypatch: pytest.MonkeyPatch) -> None:
    if not ONEDNN:
        pytest.skip("PyTorch was built without oneDNN")
    rng = torch.Generator().manual_seed(0)
    found = []
    maps = torch.randn(2, 3, 28, 28, 256, generator=rng)
    pull = torch.randn(3, 28, 28, 9, 9, generator=rng)
    for quick in (True, False):
        monkeypatch.setattr(_products, "onednn_is_quicker", lambda quick=quick: quick)
        first, second = (array.clone().requires_grad_() for array in maps)
        volume = correlate(first, surrounded(second, reach=4), reach=4)
        volume.backward(pull)  # type: ignore[no-untyped-call]
        found.append((volume, first.grad, second.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
    assert not torch.equal(found[0][0], found[1][0])  # by two ways indeed


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\n", "AuthenticAMD"),
        ("CPU part\t: 0xd0c\n", "GenuineIntel"),
    ],
)
def test_the_vendor_is_as_linux_tells(
    text: str, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(_products, "CPU_INFO", tmp_path / "cpuinfo")
    assert _products._vendor() == vendor
    monkeypatch.setattr(_products, "CPU_INFO", tmp_path / "none")
    assert _products._vendor() == "GenuineIntel"
