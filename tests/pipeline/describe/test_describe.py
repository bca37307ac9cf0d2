"""`ks.describe` and `kinestore describe`: parameters and multiply-adds, as papers print them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import kinestore as ks
from kinestore import extractors, heads
from kinestore.heads.support.step_mask import takes_joined_mask
from kinestore.pipeline.costs.operations import count_operations
from kinestore.pipeline.costs.run_cost import cost_of_model
from kinestore.store import UsageError
from tests.helpers.commands import kinestore
from tests.helpers.embedded import embedded_store
from tests.helpers.reported import without_pictures

no_pictures = pytest.fixture(scope="module", autouse=True)(without_pictures)


@pytest.mark.parametrize(
    ("model", "settings", "parameters", "macs"),
    [
        ("differential", {}, 25_605_541, 8 * 4.474e9),  # 4.474 G a segment
        ("correlation:stc_at=none", {"num_classes": 174}, 23_974_702, 33.00e9),
        ("correlation", {"num_classes": 174}, 23_994_502, 33.00e9 + 1.896e9),
        ("correlation", {"num_classes": 174, "num_frames": 16}, 23_994_502, 66.00e9 + 3.792e9),
        ("c3d", {}, 17_444_965, 19.26e9),
    ],
)
def test_networks_cost_what_is_known_of_them(
    model: str, settings: dict[str, Any], parameters: int, macs: float
) -> None:
    found = ks.describe(model, **settings)
    assert (found.kind, found.parameters) == ("network", parameters)
    assert found.macs == pytest.approx(macs, rel=5e-4)  # as many digits as are known
    assert found.attention_macs == 0


def test_the_correlation_module_adds_its_products_as_defined() -> None:
    full, plain = (ks.describe(name).macs for name in ("correlation", "correlation:stc_at=none"))
    assert full is not None and plain is not None
    # products 8 * 28 * 28 * 81 * (256 + 6 * 512); perceptrons 8 * 28 * 28 * 7 * (81 * 32 + 32 * 8);
    # fusion 8 * 28 * 28 * (56 * 49 + 56 * 16 + 2 * (16 * 9 + 16 * 16) + 16 * 9 + 16 * 512)
    places = 8 * 28 * 28
    products, perceptrons = places * 81 * (256 + 6 * 512), places * 7 * (81 * 32 + 32 * 8)
    fusion = places * (56 * 49 + 56 * 16 + 2 * (16 * 9 + 16 * 16) + 16 * 9 + 16 * 512)
    assert full - plain == products + perceptrons + fusion
    assert full - plain == pytest.approx(1.896e9, rel=1e-3)


@pytest.mark.parametrize(
    ("width", "single", "of_51", "of_101"),
    [
        (512, 394_241, 407_091, 419_941),
        (768, 525_313, 538_163, 551_013),
        (1024, 656_385, 669_235, 682_085),
        (1280, 787_457, 800_307, 813_157),
        (2048, 1_180_673, 1_193_523, 1_206_373),
        (2816, 1_573_889, 1_586_739, 1_599_589),
    ],
)
def test_the_head_of_flamest_has_the_printed_count_with_one_output(
    width: int, single: int, of_51: int, of_101: int
) -> None:
    for num_classes, parameters in {51: of_51, 101: of_101}.items():
        found = ks.describe("mlp", num_classes=num_classes, widths=(width,))
        assert (found.parameters, found.sent_parameters) == (parameters, parameters)
        assert found.single_output_parameters == single
        assert found.macs == 512 * width + 512 * 256 + 256 * num_classes


@pytest.mark.parametrize(
    ("model", "settings", "parameters"),
    [
        ("gated_fusion", {"widths": (2048, 768)}, 3_701_861),
        ("gated_fusion", {"widths": (768, 768)}, 3_046_501),
        (
            "temporal_transformer:heads=6,dense=none,positions=learned,dropout=0.5",
            {"widths": (1920,), "num_frames": 10},
            88_978_725,  # printed for the best of the paper's transfer runs
        ),
        ("temporal_rnn", {"widths": (1920,), "num_frames": 4}, 26_593_381),
    ],
)
def test_heads_count_as_known(model: str, settings: dict[str, Any], parameters: int) -> None:
    assert ks.describe(model, **settings).parameters == parameters


def test_recurrent_and_attention_layers_by_hand() -> None:
    rnn = ks.describe("temporal_rnn:units=3,dense=5", widths=(4,), num_frames=6, num_classes=2)
    assert rnn.macs == 6 * 3 * (4 * 3 + 3 * 3) + 3 * 5 + 5 * 2  # three gates, six frames
    found = ks.describe(
        "temporal_transformer:heads=2,feed_forward=3,dense=none",
        widths=(4,),
        num_frames=6,
        num_classes=2,
    )
    # queries, keys, values and output 4 * 8 each and two layers 4 * 3, for six frames; 4 * 2
    assert found.macs == 6 * (4 * 4 * 8 + 2 * 4 * 3) + 4 * 2
    assert found.attention_macs == 2 * 2 * 6 * 6 * 4  # two products of two heads


@pytest.mark.parametrize(
    ("name", "parameters", "giga", "stored"),
    [
        ("slow", 32_454_096, 54.52, 4 * 2048),
        ("r3d", 33_371_472, None, 4 * 512),
        ("clip", 151_277_313, None, 4 * 512),
        ("cnn-efficientnet-lite0", 3_371_008, None, 4 * 10 * 1280),
        ("motion", 0, None, 4 * 891),
    ],
)
def test_extractors_need_no_weights(
    name: str, parameters: int, giga: float | None, stored: int
) -> None:
    found = ks.describe(name)
    assert (found.kind, found.parameters, found.stored_bytes) == ("extractor", parameters, stored)
    assert found.trainable_parameters == 0
    if giga is not None:
        assert found.macs == pytest.approx(giga * 1e9, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", extractors.names())
def test_every_extractor_is_described(name: str) -> None:
    found = ks.describe(name)
    assert found.stored_bytes and (found.macs or name == "motion")


@pytest.mark.parametrize("name", heads.names())
def test_every_head_and_network_is_described(name: str) -> None:
    of_frames = heads.takes_frames(name)
    frames = None if of_frames or not name.startswith("temporal") else 4
    found = ks.describe(name, widths=() if of_frames else (6, 5), num_frames=frames)
    assert found.parameters > 0 and found.macs


def test_image_networks_of_flamest_s_distillation_count_as_printed() -> None:
    # ResNet-18, 26 (bottlenecks 2-2-2-2) and 34 with 1000 classes: 49,482,360 together
    published = [11_689_512, 15_995_176, 21_797_672]
    assert sum(published) == 49_482_360
    for layers, count in zip((18, 26, 34), published, strict=True):
        found = ks.describe(f"cnn-resnet{layers}")
        assert f"{count:,} parameters" in found.note
        classes = 1000 * ((512 if layers != 26 else 2048) + 1)
        assert found.parameters == count - classes


def test_a_run_keeps_its_costs(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    asked = ks.FederationConfig(num_clients=3, rounds=1, strategy="personal:private=2")
    ks.federate(
        store.load("vector"),
        out=tmp_path / "run",
        head="mlp:hidden=8",
        federation=asked,
        training=ks.TrainingConfig(epochs=1),
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["cost"] == {
        "parameters": 6 * 8 + 8 + 8 * 3 + 3,
        "trainable_parameters": 6 * 8 + 8 + 8 * 3 + 3,
        "sent_parameters": 6 * 8 + 8,  # the last layer stays with its client
        "macs": 6 * 8 + 8 * 3,
        "attention_macs": 0,
        "input": [1, 6],
    }
    found = json.loads(kinestore("describe", tmp_path / "run", "--json"))
    assert (found["kind"], found["parameters"], found["sent_parameters"]) == ("run", 83, 56)
    assert found["macs"] == 72
    ks.train(
        store.load("sequence:sequence"),
        out=tmp_path / "central",
        head="temporal_rnn:units=3,dense=4",
        training=ks.TrainingConfig(epochs=1),
    )
    central = ks.describe(tmp_path / "central")
    assert central.sent_parameters is None and central.input == (1, 5, 3)


def test_measured_time_and_memory_are_of_this_machine() -> None:
    found = ks.describe("mlp", widths=(2816,), measure=True)
    assert found.ms is not None and found.ms > 0
    assert found.peak_bytes is not None and found.device in ("cpu", "cuda")
    assert ks.describe("mlp", widths=(2816,)).ms is None


@pytest.mark.parametrize("name", [name for name in heads.names() if name.startswith("temporal")])
def test_a_head_on_masked_sequences_counts_as_on_whole_ones(name: str) -> None:
    rows, width = torch.empty(1, 5, 8, device="meta"), {"num_frames": 5, "in_features": 8}
    if name != "temporal_transformer":
        del width["num_frames"]
    head = heads.create(name, num_classes=3, **width)
    whole = cost_of_model(head, rows)
    assert whole.macs and cost_of_model(takes_joined_mask(head), rows) == whole


def test_a_trunk_that_computes_its_widths_is_described() -> None:
    found = ks.describe("cnn_rnn:trunk=regnet_x_400mf,units=4,dense=4", size=64)
    assert found.parameters > 5_000_000 and found.macs


def test_a_size_that_a_trunk_does_not_take_is_one_sentence() -> None:
    with pytest.raises(ks.UsageError, match=r"does not take clips of shape .*Expected 224"):
        ks.describe("cnn_transformer:trunk=vit_b_16,dense=none", size=112)


def test_a_model_that_needs_numbers_has_no_count_and_no_error() -> None:
    class Picky(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows if rows.sum().item() > 0 else -rows

    found = cost_of_model(Picky(), torch.ones(1, 3))
    assert (found.parameters, found.macs, found.input) == (0, None, [1, 3])


def test_counting_changes_neither_model_nor_generator() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert count_operations(model, torch.ones(1, 3)).macs == 6
    assert torch.equal(torch.get_rng_state(), state) and model.training
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name].numpy())


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("nope", {}, "nope: is no run, and no name: must be one of blip, .*, slow.*, mlp"),
        ("no/where", {}, "no/where: is no run, and no name of an extractor"),
        ("mlp", {}, "widths: mlp takes features; give the number"),
        ("c3d", {"widths": (3,)}, r"widths=\(3,\): c3d takes frames; leave them out"),
        ("temporal_rnn", {"widths": (3,)}, "frames: temporal_rnn takes sequences"),
        ("mlp", {"widths": (0,)}, r"widths=\(0,\), frames=None: must be 1 or more"),
        ("mlp", {"widths": (3,), "num_classes": 0}, "num_classes=0: must be 1 or more"),
        ("mlp:depth=3", {"widths": (3,)}, "'depth' is no setting"),
        ("gated_fusion", {"widths": (3,)}, r"widths=\(3,\): must be two"),
        ("correlation", {"num_frames": 0}, "num_frames=0, size=None: must be 1 or more"),
        ("correlation", {"size": -1}, "num_frames=None, size=-1: must be 1 or more"),
        ("mlp", {"widths": (3,), "size": 64}, "size=64: mlp takes features; leave it out"),
        ("differential", {"num_frames": 1}, "strides="),
        (
            "mlp:hidden=1000000000",
            {"widths": (9,), "measure": True},
            "mlp:hidden=1000000000: more than 1,000,000,000 parameters; leave out measure",
        ),
    ],
)
def test_what_cannot_be_described_is_named(
    model: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ks.describe(model, **settings)
