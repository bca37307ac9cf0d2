"""The whole way: the demo, and what the embedded extractors reach on real clips."""

import csv
import json
import time
from pathlib import Path

import pytest

from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.recipes.demo import demo
from kinestore.store import Store
from tests.helpers.jobs import federate, train

CNN, MOTION = "cnn-efficientnet-lite0", "motion"


@pytest.mark.slow
def test_demo_goes_the_whole_way(tmp_path: Path) -> None:
    steps = demo(tmp_path / "demo")
    top1 = {step.output.name: step.top1 for step in steps if step.top1 is not None}
    # 12 unseen clips: motion must name at least ten; by chance ten happen once in 900,000.
    assert top1["motion"] >= 10 / 12 and top1["federated"] >= 10 / 12
    # The mean look of frames stays at chance, 2 of 12: three sigma are 3.9 clips more.
    assert top1["frames"] <= 5.9 / 12
    assert (tmp_path / "demo" / "umap.png").read_bytes().startswith(b"\x89PNG")
    for page in ("umap.html", "report.html"):
        text = (tmp_path / "demo" / page).read_text(encoding="utf-8")
        assert "Content-Security-Policy" in text and "data:image/webp" in text
    assert all(step.output.exists() for step in steps)


@pytest.fixture(scope="module")
def interaction(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The 60 real clips of UT-Interaction, six classes in ten sequences, with both embeddings."""
    path = tmp_path_factory.mktemp("stores") / "interaction"
    manifest = shared_data / "ut_interaction_set1" / "labels.csv"
    summary = extract(manifest, store=path, extractors=[CNN, MOTION])
    assert (summary.num_done, summary.num_failed) == (60, 0)
    started = time.perf_counter()
    again = extract(manifest, store=path, extractors=[CNN, MOTION])
    assert (again.num_done, again.num_skipped, again.num_frames) == (0, 60, 0)
    assert time.perf_counter() - started < 10
    return Store(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("features", "least"), [((CNN,), 0.65), ((MOTION,), 0.80), ((CNN, MOTION), 0.80)]
)
def test_left_out_sequences_are_recognised(
    features: tuple[str, ...], least: float, seed: int, interaction: Store, tmp_path: Path
) -> None:
    loaded = interaction.load(features)
    summary = train(loaded, cv="group", out=tmp_path / "run", seed=seed)
    assert summary["num_test"] == 60
    assert summary["top1"] >= least


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_sequence_as_a_client_learns(seed: int, interaction: Store, tmp_path: Path) -> None:
    loaded = interaction.load(CNN)
    job = {"clients": 10, "partition": "group", "rounds": 20, "seed": seed}
    federate(loaded, out=tmp_path / "run", **job)
    with (tmp_path / "run" / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["round"]) for row in rows] == list(range(1, 21))
    # (3840 + 1) 512 + 513 x 256 + 257 x 6 parameters, in float32, from each of ten clients
    expected = 10 * (3841 * 512 + 513 * 256 + 257 * 6)
    assert {int(row["parameters_up"]) for row in rows} == {expected}
    assert {int(row["bytes_up"]) for row in rows} == {4 * expected}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # 12 unseen clips; by chance 2 are right, and three sigma are 3.9 more
    assert summary["top1"] >= 6 / 12
