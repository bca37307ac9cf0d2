"""The job that trains a swarm: what it writes, what it equals, and what it refuses."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import kinestore as ks
from kinestore.heads.training.feature_samples import FeatureSamples
from kinestore.heads.training.loop import Training
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.runs.writer import Run
from kinestore.pipeline.training.feature_data import FeatureData
from kinestore.pipeline.training.folds import choose_folds
from kinestore.pipeline.training.swarm import position_files
from kinestore.pipeline.training.swarm.fold_swarm import SwarmTrainer
from kinestore.store import KinestoreError, UsageError
from tests.helpers.swarms import HEAD, sequences, swarm
from tests.helpers.trained import FILES as FILES_OF_TRAIN
from tests.helpers.trained import metrics, saved_weights

PICTURED = FILES_OF_TRAIN - {"state-0.safetensors"}
FILES = PICTURED - {"curves.png", "confusion.png"}
NO_EXCHANGE = {"matrix": [[0.0] * 4] * 4, "c2": 0.0}


WITH_PICTURES = ["a_run_folder_has", "other_commands"]


@pytest.fixture(autouse=True)
def few_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, but for two tests: they take most of the time of a small swarm."""
    if not any(name in request.node.name for name in WITH_PICTURES):
        monkeypatch.setattr(Run, "write_pictures", lambda *given, **named: None)


def accuracies(run: Path) -> list[tuple[str, ...]]:
    """Return every figure of metrics.csv but the terms of an exchange."""
    names = ["epoch", "particle", "learning_rate", "train_loss", "validation_loss", "test_accuracy"]
    return [tuple(row[name] for name in names) for row in metrics(run)]


def test_a_run_folder_has_the_files_of_a_training_and_no_positions(tmp_path: Path) -> None:
    summary = swarm(sequences(), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == PICTURED
    rows = metrics(tmp_path / "run")
    assert [(row["epoch"], row["particle"]) for row in rows] == [
        (str(epoch), str(particle)) for epoch in (1, 2, 3) for particle in (1, 2, 3, 4)
    ]
    assert all(float(row["step"]) > 0 and float(row["gradients"]) > 0 for row in rows)
    assert all(row["positions"] == "" for row in rows)  # dynamic 1 has no such term
    assert [row["distance_3"] for row in rows if row["particle"] == "3"] == ["0.0"] * 3
    assert summary.swarm is not None
    assert [one.learning_rate for one in summary.swarm.particles] == [
        "0.01",
        "0.001",
        "0.0001",
        "1e-05:0.1",
    ]
    read = ks.RunSummary.from_json(
        json.loads((tmp_path / "run/summary.json").read_text()), tmp_path / "run"
    )
    assert replace(read, config={}) == replace(summary, config={})


def test_other_commands_read_the_run_of_a_swarm(tmp_path: Path) -> None:
    data = sequences()
    summary = swarm(data, tmp_path / "run", dynamic=2)
    ks.report(tmp_path / "run", out=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "particle 4" in page
    others = sequences(8)
    others = replace(others, clip_ids=[f"{row:032x}" for row in range(100, 145)])
    found = ks.evaluate(tmp_path / "run", others)
    assert found.num_clips == 45
    assert ks.predict(tmp_path / "run", others).predicted
    assert summary.top1 == pytest.approx(
        float(metrics_of_chosen(summary, tmp_path / "run")), abs=1e-12
    )


def metrics_of_chosen(summary: ks.RunSummary, run: Path) -> str:
    """Return the test accuracy of the saved particle after its best epoch."""
    assert summary.swarm is not None and summary.best_epochs is not None
    wanted = (str(summary.best_epochs["test"]), str(summary.swarm.saved_particle))
    (found,) = [row for row in metrics(run) if (row["epoch"], row["particle"]) == wanted]
    return found["test_accuracy"]


def test_the_chosen_particle_has_the_highest_validation_accuracy(tmp_path: Path) -> None:
    summary = swarm(sequences(1), tmp_path / "run", epochs=5)
    rows = metrics(tmp_path / "run")
    best = max(float(row["validation_accuracy"]) for row in rows)
    assert summary.swarm is not None and summary.best_epochs is not None
    first = min(int(row["particle"]) for row in rows if float(row["validation_accuracy"]) == best)
    assert summary.swarm.saved_particle == first
    assert summary.best_epochs["test"] == min(
        int(row["epoch"])
        for row in rows
        if float(row["validation_accuracy"]) == best and row["particle"] == str(first)
    )


def test_by_loss_the_chosen_particle_has_the_lowest_validation_loss(tmp_path: Path) -> None:
    summary = swarm(sequences(1), tmp_path / "run", epochs=4, fitness="loss")
    rows = metrics(tmp_path / "run")
    lowest = min(rows, key=lambda row: float(row["validation_loss"]))
    assert summary.swarm is not None
    assert str(summary.swarm.saved_particle) == lowest["particle"]


def alone(data: ks.Features, particle: int, *, epochs: int, rate: float) -> nn.Module:
    """Train a particle by the loop of central training, with one optimizer for all epochs."""
    config = replace(ks.SWARM_TRAINING, epochs=epochs, learning_rate=rate)
    evaluation = ks.EvaluationConfig(validation=0.25)
    clips = FeatureData(data, head=HEAD, seed=0, device=torch.device("cpu"), training=config)
    _, (fold,) = choose_folds(clips.rows, evaluation, seed=0)
    trainer = SwarmTrainer(
        data=clips,
        training=config,
        config=ks.SwarmConfig(),
        seed=0,
        processes=ONE_PROCESS,
        out=Path(),
        on_particle=lambda record: None,
    )
    seed = trainer.particle_seed(particle)
    model = clips.new_model(seed)
    (samples,) = clips.prepare([fold.train]).clients
    assert isinstance(samples, FeatureSamples)
    training = Training(model, samples, config=config, seed=seed)
    for number in range(1, epochs + 1):
        training.epoch(number, np.arange(len(samples)))
    return model


@pytest.mark.parametrize("same", [{"individual": True}, NO_EXCHANGE, {"individual_epochs": 3}])
def test_without_an_exchange_a_particle_is_trained_as_if_alone_bit_for_bit(
    same: dict[str, Any], tmp_path: Path
) -> None:
    data, rates = sequences(), [1e-1, 1e-2, 1e-3, 1e-4]
    kept: dict[int, dict[str, torch.Tensor]] = {}
    swarm(data, tmp_path / "run", learning_rates=rates, fitness="loss", **same)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    saved, epoch = summary["swarm"]["saved_particle"], summary["best_epochs"]["test"]
    model = alone(data, saved - 1, epochs=epoch, rate=rates[saved - 1])
    kept[0] = model.state_dict()
    for name, tensor in saved_weights(tmp_path / "run").items():
        assert torch.equal(tensor, kept[0][name]), name


@pytest.mark.parametrize("same", [{"individual_epochs": 3}, NO_EXCHANGE])
def test_a_swarm_that_never_exchanges_is_individual_learning_bit_for_bit(
    same: dict[str, Any], tmp_path: Path
) -> None:
    swarm(sequences(), tmp_path / "alone", individual=True)
    swarm(sequences(), tmp_path / "same", **same)
    assert accuracies(tmp_path / "alone") == accuracies(tmp_path / "same")
    whole = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "same")]
    assert whole[0] == whole[1]


def test_an_individual_phase_equals_individual_learning_up_to_its_end(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "alone", individual=True, epochs=4)
    swarm(sequences(), tmp_path / "phases", individual_epochs=2, epochs=4)
    one, other = accuracies(tmp_path / "alone"), accuracies(tmp_path / "phases")
    assert one[:12] == other[:12]  # the third epoch is the first that ends with an exchange
    assert one[12:] != other[12:]


def test_equal_particles_without_an_exchange_are_four_equal_runs(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "run", same_start=True, learning_rates=[0.05] * 4, **NO_EXCHANGE)
    by_particle = [
        [row[1:1] + row[2:] for row in accuracies(tmp_path / "run") if row[1] == str(number)]
        for number in (1, 2, 3, 4)
    ]
    assert by_particle.count(by_particle[0]) == 4
    assert {row["distance_2"] for row in metrics(tmp_path / "run")} == {"0.0"}


def test_particles_start_from_different_weights(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "run", learning_rates=[1e-9] * 4, individual=True, epochs=1)
    assert all(float(row["distance_1"]) > 0.1 for row in metrics(tmp_path / "run")[1:])


def test_the_wild_particle_draws_a_rate_of_its_range_before_each_epoch(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "run", epochs=8, individual=True)
    rows = metrics(tmp_path / "run")
    rates = [float(row["learning_rate"]) for row in rows if row["particle"] == "4"]
    assert len(set(rates)) == 8
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert {row["learning_rate"] for row in rows if row["particle"] == "2"} == {"0.001"}


@pytest.mark.parametrize(
    ("dynamic", "mode"), [(1, "paper"), (2, "code"), (2, "consensus"), (2, "paper")]
)
def test_every_form_trains_and_reports_its_terms(dynamic: int, mode: str, tmp_path: Path) -> None:
    summary = swarm(sequences(), tmp_path / "run", dynamic=dynamic, mode=mode, neighbors=2)
    assert summary.swarm is not None
    terms = {"gradients", "best"} | ({"positions"} if dynamic == 2 else set())
    assert all(terms <= set(one.shares) for one in summary.swarm.particles)


def test_folds_are_summarized_with_the_sample_standard_deviation(tmp_path: Path) -> None:
    summary = swarm(sequences(), tmp_path / "run", folds=3, epochs=2, individual=True)
    assert summary.swarm is not None
    one = summary.swarm.particles[1]
    values = [
        float(row["test_accuracy"])
        for row in metrics(tmp_path / "run")
        if row["particle"] == "2" and row["epoch"] == "2"
    ]
    assert one.last.values == values
    assert one.last.std == pytest.approx(float(np.std(values, ddof=1)))
    assert one.last.max == max(values)
    assert summary.model == "all rows"
    assert {row["fold"] for row in metrics(tmp_path / "run")} == {"1", "2", "3"}


def test_best_on_test_is_never_below_the_chosen_and_the_last(tmp_path: Path) -> None:
    summary = swarm(sequences(2), tmp_path / "run", epochs=6)
    assert summary.swarm is not None
    for one in summary.swarm.particles:
        assert one.best_on_test.mean >= max(one.chosen.mean, one.last.mean)


class Stop(Exception):
    """Ends a run."""


def stop_after(count: int) -> ks.Progress:
    seen: list[int] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        seen.append(done)
        if len(seen) == count:
            raise Stop

    return progress


@pytest.mark.parametrize("count", [1, 6, 8, 11])
def test_a_stopped_swarm_resumes_to_the_bits_of_an_undisturbed_one(
    count: int, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"dynamic": 2, "individual_epochs": 1, "fitness": "loss"}
    swarm(sequences(), tmp_path / "whole", **choices)
    with pytest.raises(Stop):
        swarm(sequences(), tmp_path / "run", progress=stop_after(count), **choices)
    ticks: list[int] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        ticks.append(done)
        assert total == 12

    swarm(sequences(), tmp_path / "run", resume=True, progress=progress, **choices)
    assert ticks == list(range((count - 1) // 4 * 4 + 1, 13))
    for name in ("metrics.csv", "model.safetensors", "predictions.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Path]:
    """A swarm stopped in its third epoch."""
    with pytest.raises(Stop):
        swarm(sequences(), tmp_path / "run", progress=stop_after(10))
    yield tmp_path / "run"


def test_two_generations_are_kept_and_a_damaged_file_costs_one_epoch(
    stopped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swarm(sequences(), tmp_path / "whole")
    states = sorted(path.name for path in stopped.glob("*.json") if path.name.startswith("swarm"))
    assert states == ["swarm-0-1.json", "swarm-0-2.json"]
    newest = stopped / "swarm-0-x3-2.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    swarm(sequences(), stopped, resume=True)
    assert "swarm-0-2.json" in caplog.text and "resuming from epoch 1" in caplog.text
    assert (stopped / "model.safetensors").read_bytes() == (
        tmp_path / "whole/model.safetensors"
    ).read_bytes()


def damage(run: Path, kind: str) -> None:
    """Damage the checkpoint of a stopped swarm."""
    for path in run.glob("swarm-*.json" if kind in STATES else "swarm-*-x*"):
        if kind in STATES:
            path.write_text(STATES[kind](path.read_text()))
        elif kind == "gone":
            path.unlink()
        else:
            data = path.read_bytes()
            path.write_bytes(
                data[:50] if kind == "cut" else data[:-4] + np.float32(np.nan).tobytes()
            )


STATES: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "{}",
    "elsewhere": lambda text: text.replace("swarm-0-x1", "../swarm-0-x1"),
    "particles": lambda text: text.replace('"fitness": [', '"fitness": [0.5, '),
    "epochs": lambda text: text.replace('"epoch": 1', '"epoch": 7'),
}


@pytest.mark.parametrize("kind", ["cut", "nan", "gone", *STATES])
def test_a_checkpoint_that_cannot_be_used_is_refused_in_one_sentence(
    kind: str, stopped: Path
) -> None:
    damage(stopped, kind)
    with pytest.raises(UsageError, match="no checkpoint can be used; run without resuming"):
        swarm(sequences(), stopped, resume=True)
    swarm(sequences(), stopped)  # without resuming it can be replaced
    assert {path.name for path in stopped.iterdir()} == FILES


def test_a_swarm_of_other_settings_is_not_resumed(stopped: Path) -> None:
    with pytest.raises(UsageError, match="is a run with dynamics="):
        swarm(sequences(), stopped, resume=True, c2=0.4)


def test_given_defaults_are_the_same_run(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "run", epochs=1)
    before = (tmp_path / "run/summary.json").read_bytes()
    matrix = [[0.2, 0.2, 0.2, 10]] * 3 + [[0.2, 0.2, 0.2, 9]]
    rates = [0.01, 0.001, 0.0001, (1e-5, 1e-1)]
    swarm(sequences(), tmp_path / "run", epochs=1, matrix=matrix, learning_rates=rates, resume=True)
    assert (tmp_path / "run/summary.json").read_bytes() == before


def test_leftover_positions_of_a_killed_end_are_removed(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "copy")
    swarm(sequences(), stopped, resume=True)
    for path in (tmp_path / "copy").glob("swarm-*"):
        shutil.copy(path, stopped)
    swarm(sequences(), stopped, resume=True)
    assert {path.name for path in stopped.iterdir()} == FILES


def test_a_particle_that_diverges_stops_the_swarm_and_is_named(tmp_path: Path) -> None:
    rates = [0.01, 1e30, 0.01, 0.01]
    with pytest.raises(KinestoreError, match=r"^particle 2: epoch=") as stopped:
        swarm(sequences(), tmp_path / "run", learning_rates=rates)
    assert "\n" not in str(stopped.value)


def test_an_exchange_that_overflows_names_the_particle(tmp_path: Path) -> None:
    with pytest.raises(KinestoreError, match=r"^particle 1: its new position has NaN or infinity"):
        swarm(sequences(), tmp_path / "run", matrix=[[0, 1e300, 0, 0]] + [[0] * 4] * 3)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"optimizer": "adam"}, "optimizer='adam': particles of a swarm train by plain SGD"),
        ({"momentum": 0.9}, "momentum=0.9: particles of a swarm train by plain SGD"),
        ({"learning_rate": 0.1}, "learning_rate=0.1: .* give learning_rates, one for each"),
        ({"schedule": "cosine"}, "schedule='cosine': particles of a swarm"),
        ({"patience": 2}, "patience=2: all particles of a swarm train for all epochs"),
        ({"epochs": 0}, "epochs=0: must be 1 or more"),
    ],
)
def test_settings_that_particles_do_not_have_are_refused(
    choices: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        swarm(sequences(), tmp_path / "run", **choices)
    assert not (tmp_path / "run").exists()


def test_without_a_validation_part_a_fifth_is_held_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary = swarm(sequences(), tmp_path / "run", validation=None, epochs=1)
    assert (summary.num_train, summary.num_validation, summary.num_test) == (29, 7, 9)
    assert "validation: 20% of the training clips" in caplog.text
    assert summary.config["validation"] == 0.2


def test_masked_sequences_train_whatever_their_padding(tmp_path: Path) -> None:
    data = sequences()
    mask = np.ones(data.features.shape[:2], bool)
    mask[::2, 3:] = False
    garbage = data.features.copy()
    garbage[~mask] = 1e6
    swarm(replace(data, mask=mask), tmp_path / "one")
    swarm(replace(data, mask=mask, features=garbage), tmp_path / "other")
    whole = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other")]
    assert whole[0] == whole[1]


def test_the_global_generators_are_left_alone(tmp_path: Path) -> None:
    before, numbers = torch.get_rng_state(), repr(np.random.get_state())
    swarm(sequences(), tmp_path / "run", epochs=1)
    assert torch.equal(before, torch.get_rng_state())
    assert numbers == repr(np.random.get_state())


def test_positions_are_read_part_by_part(tmp_path: Path) -> None:
    files = position_files.PositionFiles(tmp_path, 0)
    tensors = {"a": torch.arange(12.0).reshape(3, 4), "count": torch.tensor(3)}
    name = files.write("x", 1, 0, tensors)
    assert files.open(name).read("a", slice(2, 7)).tolist() == [2, 3, 4, 5, 6]
    assert files.open(name).read("count", slice(0, 1)).tolist() == [3]


def test_six_particles_in_two_neighborhoods_run(tmp_path: Path) -> None:
    summary = swarm(sequences(), tmp_path / "run", particles=6, neighbors=2, dynamic=2, epochs=2)
    assert summary.swarm is not None and len(summary.swarm.particles) == 6


def test_a_finished_swarm_is_not_gone_on_with_and_stays(tmp_path: Path) -> None:
    swarm(sequences(), tmp_path / "run", epochs=1)
    before = (tmp_path / "run/summary.json").read_bytes()
    with pytest.raises(UsageError, match="is a finished swarm of 1 epochs, which keeps no positio"):
        swarm(sequences(), tmp_path / "run", epochs=2, resume=True)
    assert (tmp_path / "run/summary.json").read_bytes() == before
