"""The job that trains a net end to end, its run folder, and what it goes on from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kinestore.heads._resnet import residual_network
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.build_network import build_net, start_net
from kinestore.pipeline.training.networks.clip_data import ClipData, FrameClips
from kinestore.pipeline.training.networks.data.clip_source import open_source
from kinestore.pipeline.training.start_weights import read_start
from kinestore.store import KinestoreError, Store, UsageError
from tests.helpers.filmed import coloured_store, numbered_store
from tests.helpers.jobs import network_config, train_network, watch
from tests.helpers.trained import FILES, metrics

NET = "differential:layers=1-1-1-1,width=16,strides=,dropout=0.1"
SHORT = network_config(epochs=3, batch_size=6, learning_rate=0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured_store(tmp_path_factory.mktemp("nets") / "store")


def train(store: Store, out: Path, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"input": "frames", "head": NET, "settings": SHORT}
    return train_network(store, out=out, **{**given, **changes})


def test_a_run_folder_holds_what_other_heads_leave(store: Store, tmp_path: Path) -> None:
    ticks: list[tuple[int, int, str]] = []
    summary = train(store, tmp_path, seed=3, progress=watch(ticks))
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    config = json.loads((tmp_path / "config.json").read_text())
    (kind,) = (spec.name for spec in store.kinds_of_frames())
    assert (config["job"], config["head"], config["features"]) == ("train", NET, [kind])
    assert config["settings"]["schedule"] == "cosine" and config["size"] == 35  # 7/8 of 40
    assert (summary["num_train"], summary["num_test"]) == (19, 5)
    assert summary["num_missing"] == summary["num_changed"] == summary["num_left_out"] == 0
    assert summary["evaluation"] == "stratified hold-out"
    assert (summary["device"], summary["processes"]) == ("cpu", 1)
    assert summary["clips_per_s"] > 0
    assert [(done, total) for done, total, _ in ticks] == [(1, 3), (2, 3), (3, 3)]
    assert all(note.endswith(" clips/s") for *_, note in ticks)
    rows = metrics(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    said = read_predictions(tmp_path)
    right = np.mean([a == b for a, b in zip(said.labels, said.predicted, strict=True)])
    assert right == summary["top1"] == float(rows[-1]["test_accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_net_learns_what_its_clips_show(store: Store, tmp_path: Path, seed: int) -> None:
    settings = network_config(epochs=10, batch_size=6, learning_rate=0.01)
    summary = train(store, tmp_path, seed=seed, settings=settings)
    assert summary["top1"] == 1  # chance is 1/3
    losses = [float(row["train_loss"]) for row in metrics(tmp_path)]
    assert min(losses) < 0.5 * losses[0]  # 19 clips, cut anew each time: no epoch is like the last


def test_the_saved_net_says_what_the_run_says(store: Store, tmp_path: Path) -> None:
    train(store, tmp_path)
    source = open_source(store, "frames", num_clips=1)
    start, classes = read_start(tmp_path), ["blue", "green", "red"]
    net, _ = start_net(NET, classes=classes, source=source, size=35, start=start, seed=9)
    net.eval()
    arrays = load_file(tmp_path / "model.safetensors")
    mean, std = (arrays[f"standardise.{name}"].float()[:, None, None] for name in ("mean", "std"))
    said = read_predictions(tmp_path)
    for clip_id, predicted, confidence in zip(
        said.clip_ids, said.predicted, said.confidence, strict=True
    ):
        (frames,) = source.testing(clip_id, num_clips=1)
        # 35 of 40 pixels from the centre: round(2.5) = 2 left out before
        pixels = torch.from_numpy(frames[:, 2:37, 2:37]).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            chances = net(((pixels - mean) / std).view(1, 2, 5, 3, 35, 35)).softmax(1)[0]
        assert classes[int(chances.argmax())] == predicted
        assert float(chances.max()) == pytest.approx(confidence, abs=1e-5)


def test_kept_and_streamed_clips_are_scored_alike(tmp_path: Path) -> None:
    store = numbered_store(tmp_path / "videos", "segments:2x5@40", num_frames=[12, 15, 18, 21, 9])
    weights = tmp_path / "start.safetensors"
    source = open_source(store, "frames", num_clips=1)
    net = build_net(NET, num_classes=2, source=source, size=35, seed=0)
    save_file(net.state_dict(), weights)
    still = network_config(epochs=1, learning_rate=1e-30, momentum=0, batch_size=4)
    told = []
    for clips in ("frames", "videos:segments:2x5@40"):
        out = tmp_path / f"run-{clips[:6]}"
        train(store, out, input=clips, settings=still, weights=weights)
        said = read_predictions(out)
        told.append((said.clip_ids, said.predicted, said.labels))
    assert told[0] == told[1]


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these small networks write a checkpoint after every epoch."""
    monkeypatch.setattr("kinestore.pipeline.training.fold_trainer.CHECKPOINT_SECONDS", 0.0)


class StoppedError(Exception):
    """In the place of a kill."""


@pytest.mark.parametrize(
    "choice",
    [pytest.param({"folds": 2}, marks=pytest.mark.slow), {"validation": 0.3, "seed": 1}],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    store: Store, tmp_path: Path, choice: dict[str, Any]
) -> None:
    train(store, tmp_path / "whole", **choice)

    def stop_at(stage: str, epoch: int, total: int, note: str = "") -> None:
        if note and epoch in (2, 4):  # the epochs of a checkpoint have no rate
            raise StoppedError

    for _ in range(1 + ("folds" in choice)):
        with pytest.raises(StoppedError):
            train(store, tmp_path / "again", resume=True, progress=stop_at, **choice)
        assert list((tmp_path / "again").glob("checkpoint-*"))
    summary = train(store, tmp_path / "again", resume=True, **choice)
    for name in ("model.safetensors", "metrics.csv", "predictions.parquet", "config.json"):
        whole, again = (tmp_path / run / name for run in ("whole", "again"))
        assert whole.read_bytes() == again.read_bytes(), name
    left = {path.name for path in (tmp_path / "again").iterdir()}
    assert left - {"state-1.safetensors", "state-2.safetensors"} == FILES
    assert train(store, tmp_path / "again", resume=True, **choice) == summary  # only read


def test_what_cannot_be_gone_on_from_is_refused(store: Store, tmp_path: Path) -> None:
    def stop(stage: str, epoch: int, total: int, note: str = "") -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        train(store, tmp_path, progress=stop)
    with pytest.raises(UsageError, match="is a run with seed=0, not 1; repeat its command"):
        train(store, tmp_path, resume=True, seed=1)
    checkpoint = tmp_path / "checkpoint-0.safetensors"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-100])
    with pytest.raises(UsageError, match=r"checkpoint-0\.safetensors: is no checkpoint that can"):
        train(store, tmp_path, resume=True)
    save_file({"model.x": torch.zeros(1)}, checkpoint, metadata={"fit": "[]"})
    with pytest.raises(UsageError, match=r"checkpoint-0\.safetensors: is no checkpoint that can"):
        train(store, tmp_path, resume=True)
    fit = {"format": 3, "records": [], "best_epoch": 0, "lowest": 9.0}
    save_file({"model.x": torch.zeros(1)}, checkpoint, metadata={"fit": json.dumps(fit)})
    with pytest.raises(
        UsageError, match=r"checkpoint-0\.safetensors: is of another network .*resume"
    ):
        train(store, tmp_path, resume=True)
    train(store, tmp_path)  # without it, all is done anew
    assert not checkpoint.exists()


def test_the_best_epoch_by_validation_is_kept(store: Store, tmp_path: Path) -> None:
    # steps grow until they throw the net far off
    settings = network_config(epochs=6, batch_size=6, learning_rate=3.0, warmup=5)
    how: dict[str, Any] = {"validation": 0.3, "settings": settings, "class_weights": "balanced"}
    summary = train(store, tmp_path, **how)
    rows = metrics(tmp_path)
    losses = [float(row["validation_loss"]) for row in rows]
    best = losses.index(min(losses))
    assert best < 5 and summary["best_epochs"] == {"test": best + 1}
    assert summary["top1"] == float(rows[best]["test_accuracy"]) == summary["fold_top1"]["test"]
    assert summary["num_validation"] == 6  # 0.3 x 19 = 5.7
    train(store, tmp_path, patience=1, **how)
    worse = next(n for n in range(1, 6) if losses[n] >= min(losses[:n]))
    assert metrics(tmp_path) == rows[: worse + 1]


@pytest.mark.slow
def test_groups_are_left_out_and_a_net_of_all_clips_is_saved(store: Store, tmp_path: Path) -> None:
    ticks: list[tuple[int, int, str]] = []
    settings = network_config(epochs=2, batch_size=6)
    summary = train(store, tmp_path, cv="group", settings=settings, progress=watch(ticks))
    assert list(summary["fold_top1"]) == ["g0", "g1", "g2", "g3"]
    assert (summary["num_train"], summary["num_test"], summary["model"]) == (24, 24, "all rows")
    assert ticks[-1][:2] == (10, 10) and len(metrics(tmp_path)) == 8
    assert len(read_predictions(tmp_path).clip_ids) == 24


def test_several_looks_are_averaged(store: Store, tmp_path: Path) -> None:
    more = coloured_store(tmp_path / "store", num_clips=9, frames="segments:4x5@48x40")
    looks = EvaluationViews(num_clips=2, num_crops=3)
    summary = train(more, tmp_path / "run", views=looks, size=36)
    assert summary["test_views"] == {"clips": 2, "crops": 3}
    with pytest.raises(UsageError, match="clips=3: must divide the 4 segments"):
        train(more, tmp_path / "run", views=EvaluationViews(num_clips=3))


def test_a_class_with_one_clip_is_trained_and_scored(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=4)
    summary = train(store, tmp_path / "run", folds=2, settings=network_config(epochs=1))
    assert summary["num_test"] == 4 and set(summary["classes"]) == {"red", "green", "blue"}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"size": 41}, "size=41: must be from 1 to 40, the shorter side of the frames"),
        ({"size": 32}, r"must be \(clips, 2, 5, 3, height, width\) with sides of 33 or more"),
        ({"flip_pairs": ["red,pink"]}, "flip_pair='red,pink': must be two classes"),
        ({"patience": 2}, "patience=2: there is no validation part"),
        ({"patience": 0, "validation": 0.3}, "patience=0: must be 1 or more"),
        ({"class_weights": "even"}, "class_weights='even': must be balanced"),
        ({"device": "tpu"}, "device='tpu': must be auto, cpu or cuda"),
        ({"head": "mlp"}, "head='mlp': takes embeddings, and these are frames; take c3d"),
        ({"head": "c3d:num_frames=3"}, "'num_frames' is no setting; c3d takes dropout"),
        ({"head": "c4d"}, "head='c4d': must be one of"),
        ({"input": "frames:x"}, "frames 'x': not in"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, choice: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        train(store, tmp_path / "run", **choice)
    assert not (tmp_path / "run").exists()


def test_frames_that_a_net_cannot_take_are_told_by_their_shape(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=6, frames="segments:4x3@40")
    with pytest.raises(UsageError, match="sample num_segments=4 segments of 5 frames"):
        train(store, tmp_path / "run", head="differential:layers=1-1-1-1,width=16,strides=")


def test_clips_that_a_net_breaks_on_are_told_by_their_shape(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=4)
    data = ClipData(
        FrameClips(store=store), head=NET, training=SHORT, seed=0, processes=ONE_PROCESS
    )
    with pytest.raises(
        UsageError, match=r"size=35: clips of shape \(2, 5, 3, 35, 35\) do not fit the"
    ):
        data.check(nn.Linear(7, 3))


def test_divergence_names_the_epoch(store: Store, tmp_path: Path) -> None:
    settings = network_config(epochs=4, batch_size=6, learning_rate=1e30)
    with pytest.raises(KinestoreError, match=r"epoch=[12]: training diverged, .* than 1e\+30"):
        train(store, tmp_path, settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("head", [NET, "correlation:layers=1-1-1-1,width=16,dropout=0.1"])
def test_a_real_net_recomputes_to_the_same_bits(store: Store, tmp_path: Path, head: str) -> None:
    def saved(name: str, **how: Any) -> dict[str, torch.Tensor]:
        given = {"epochs": 2, "batch_size": 6, "learning_rate": 0.02, **how}
        train(store, tmp_path / name, head=head, settings=network_config(**given))
        return load_file(tmp_path / name / "model.safetensors")

    plain, recomputed = saved("plain"), saved("recomputed", activation_checkpointing=True)
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


class TestWeights:
    """A file to start from."""

    def net(self, store: Store, weights: Path | None, seed: int = 0) -> nn.Module:
        source = open_source(store, "frames", num_clips=1)
        if weights is None:
            return build_net(NET, num_classes=3, source=source, size=35, seed=seed)
        start = read_start(weights)
        return start_net(
            NET, classes=["a", "b", "c"], source=source, size=35, start=start, seed=seed
        )[0]

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
    def test_a_nets_own_tensors_are_loaded(self, store: Store, tmp_path: Path, name: str) -> None:
        state, path = self.net(store, None).state_dict(), tmp_path / name
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        loaded = self.net(store, path, seed=5).state_dict()
        assert all(torch.equal(state[key], loaded[key]) for key in state)

    def test_a_trunks_tensors_are_loaded_by_the_net(self, store: Store, tmp_path: Path) -> None:
        trunk = residual_network(layers=(1, 1, 1, 1), width=16)
        torch.save(trunk.state_dict(), tmp_path / "trunk.pt")
        loaded = self.net(store, tmp_path / "trunk.pt").state_dict()
        wanted = trunk.state_dict()["layer3.0.conv2.weight"]
        assert any(torch.equal(tensor, wanted) for tensor in loaded.values())

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda s: s.pop("classifier.bias"), "the file lacks 'classifier.bias'"),
            (lambda s: s.update(x=torch.zeros(1)), "the file has an unknown 'x'"),
            (
                lambda s: s.update({"classifier.bias": torch.zeros(4)}),
                "the file has another shape of 'classifier.bias'",
            ),
        ],
    )
    def test_keys_that_do_not_fit_stop_the_load(
        self, store: Store, tmp_path: Path, change: Any, said: str
    ) -> None:
        state = self.net(store, None).state_dict()
        change(state)
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(UsageError, match=rf"weights .*w\.safetensors: do not fit.*{said}"):
            self.net(store, tmp_path / "w.safetensors")

    def test_files_that_are_none(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"absent\.pt: no such file"):
            self.net(store, tmp_path / "absent.pt")
        (tmp_path / "text.safetensors").write_text("hello")
        with pytest.raises(UsageError, match=r"text\.safetensors: not a state dict of tensors"):
            self.net(store, tmp_path / "text.safetensors")
        torch.save(nn.Linear(1, 1), tmp_path / "code.pt")  # a pickle that would run code
        with pytest.raises(UsageError, match=r"code\.pt: not a state dict of tensors"):
            self.net(store, tmp_path / "code.pt")
        torch.save([1], tmp_path / "list.pt")
        with pytest.raises(UsageError, match=r"list\.pt: not a state dict of tensors"):
            self.net(store, tmp_path / "list.pt")
