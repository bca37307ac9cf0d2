"""A swarm of networks on frames, trained end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kinestore as ks
from kinestore.store import Store
from tests.helpers.filmed import coloured_store
from tests.helpers.swarms import swarm
from tests.helpers.trained import metrics, saved_weights

CHOICES: dict[str, Any] = {
    "head": "cnn_transformer:trunk=resnet18,dense=8",
    "epochs": 1,
    "batch_size": 4,
    "particles": 2,
    "dynamic": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured_store(tmp_path_factory.mktemp("networks") / "store", num_clips=12)


def clips(store: Store) -> ks.FrameClips:
    return ks.FrameClips(
        store=store, input="frames:segments-2x5-40", size=36, augmentation="affine"
    )


@pytest.mark.slow
def test_networks_move_with_and_without_their_buffers(store: Store, tmp_path: Path) -> None:
    for name, included in (("without", False), ("with", True)):
        summary = swarm(clips(store), tmp_path / name, include_buffers=included, **CHOICES)
        assert summary.swarm is not None and len(summary.swarm.particles) == 2
        state = saved_weights(tmp_path / name)
        variances = [t for key, t in state.items() if key.endswith("running_var")]
        assert variances and all((values >= 0).all() for values in variances)
        assert len(metrics(tmp_path / name)) == 2
    config = json.loads((tmp_path / "with" / "config.json").read_text())
    assert config["augmentation"] == "affine"
    one, other = (metrics(tmp_path / name)[0] for name in ("without", "with"))
    assert one["train_loss"] == other["train_loss"]
    assert float(one["distance_2"]) < float(other["distance_2"])  # buffers count too
    (tested,) = {len(ks.predict(tmp_path / "with", clips(store)).predicted)}
    assert tested == 12


@pytest.mark.slow
def test_particles_of_networks_start_from_the_same_trunk_and_different_heads(
    store: Store, tmp_path: Path
) -> None:
    trunk = tmp_path / "trunk.pth"
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), trunk)
    run = swarm(
        clips(store),
        tmp_path / "run",
        weights=str(trunk),
        learning_rates=[1e-12] * 2,
        individual=True,
        **CHOICES,
    )
    assert "the backbone" in str(run.weights_taken)
    own = saved_weights(tmp_path / "run")
    published = resnet18()
    published.load_state_dict(torch.load(trunk, weights_only=True))
    weight = own["trunk.network.layer1.0.conv1.weight"]
    torch.testing.assert_close(weight, published.layer1[0].conv1.weight.detach())
    rows = metrics(tmp_path / "run")
    assert all(float(row["distance_1"]) > 1 for row in rows[1:])
    assert np.isfinite(float(rows[0]["step"]))
