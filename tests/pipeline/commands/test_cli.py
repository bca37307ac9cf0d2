"""The command line as a person meets it: real processes, their output and exit status."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinestore.store import Clip, Embedding, Source, Store, ViewSpec
from tests.helpers.numbered import make_video
from tests.helpers.stored import INFO


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kinestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 40 clips whose embeddings tell two classes apart, in four groups."""
    store = Store.create(tmp_path_factory.mktemp("stores") / "embedded")
    rng = np.random.default_rng(0)
    spec = ViewSpec(extractor="made", shape=(8,), settings={})
    clips, embeddings = [], []
    for number in range(40):
        vector = rng.normal(size=8).astype(np.float32) + 3 * (number % 2)
        source = Source(uri=f"/v/{number}.avi", label="ab"[number % 2], group=f"g{number % 4}")
        clips.append(Clip(clip_id=f"{number:032x}", source=source, info=INFO))
        embeddings.append(Embedding(vector=vector, frame_index=np.arange(1), pts_s=np.zeros(1)))
    store.append_clips(clips)
    store.append(spec, [clip.clip_id for clip in clips], embeddings)
    return store.path


def test_a_mixed_manifest_ends_with_status_3_and_a_reason_for_each(tmp_path: Path) -> None:
    make_video(tmp_path / "good.mp4", 12)
    (tmp_path / "text.avi").write_text("hello\n")
    (tmp_path / "m.csv").write_text("video,label\nabsent.avi,a\ntext.avi,a\ngood.mp4,b\n")
    job = ("extract", tmp_path / "m.csv", "--store", tmp_path / "s", "-e", "motion")
    done = run(*job, "--json")
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert [summary[key] for key in ("done", "skipped", "failed")] == [1, 0, 2]
    assert "Traceback" not in done.stderr
    assert "\r" not in done.stderr and "extracting" not in done.stderr  # no bar off a terminal

    failures = json.loads(run("failures", tmp_path / "s", "--json").stdout)
    assert {(Path(f["uri"]).name, f["stage"], f["kind"]) for f in failures} == {
        ("absent.avi", "read", "missing-file"),
        ("text.avi", "decode", "not-a-video"),
    }
    assert all(f["message"] for f in failures)

    again = run(*job)
    assert again.returncode == 3 and "1" in again.stdout
    status = json.loads(run("status", tmp_path / "s", "--json").stdout)
    assert status["clips"] == 1
    assert [(v["extractor"], v["rows"], v["dim"]) for v in status["views"]] == [("motion", 1, 891)]
    assert len(status["views"][0]["fingerprint"]) == 16

    (tmp_path / "m.csv").write_text("video,label\ngood.mp4,b\n")
    settled = run(*job)
    assert settled.returncode == 0 and "Nothing to compute" in settled.stdout


def test_train_leaves_a_run_folder_with_everything_in_it(embedded: Path, tmp_path: Path) -> None:
    done = run("train", embedded, "--features", "made", "--cv", "group", "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert names >= {"config.json", "metrics.csv", "model.safetensors", "summary.json"}
    assert names >= {"curves.png", "confusion.png"}
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["top1"] > 0.9 and summary["num_test"] == 40 and summary["seed"] == 0
    assert f"{summary['top1']:.3f}" in done.stdout


def test_federate_writes_a_row_a_round(embedded: Path, tmp_path: Path) -> None:
    job = ("federate", embedded, "--features", "made", "--clients", "4", "--rounds", "6")
    done = run(*job, "--partition", "group", "--out", tmp_path / "f", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["top1"] > 0.9
    with (tmp_path / "f" / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["round"] for row in rows] == list("123456")
    # 8 x 512 + 512 + 512 x 256 + 256 + 256 x 2 + 2 parameters from each of four clients
    assert {int(row["parameters_up"]) for row in rows} == {4 * 136_450}
    assert {int(row["bytes_up"]) for row in rows} == {4 * 4 * 136_450}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["extract", "VIDEOS", "--store", "S", "-e", "motion"], 2, "no such folder, manifest"),
        (["extract", "."], 2, "Missing option"),
        (["status", "S"], 1, "S: no store here; make one with `kinestore extract"),
        (["train", "S", "--features", "x", "--out", "R"], 1, "S: no store here"),
        (["train", "STORE", "--features", "x", "--out", "R"], 2, "'x': not in"),
        (["train", "STORE", "--features", "made:top", "--out", "R"], 2, "must be one of stats"),
        (
            ["train", "STORE", "--features", "made", "--head", "x", "--out", "R"],
            2,
            "one of c3d, cnn_rnn, cnn_transformer, correlation, differential, gated_fusion, mlp",
        ),
        (["train", "STORE", "--features", "made", "--epochs", "0", "--out", "R"], 2, "epochs=0"),
        (["train", "STORE", "--features", "made", "--cv", "x", "--out", "R"], 2, "cv='x'"),
        (
            ["federate", "STORE", "--features", "made", "--clients", "99", "--out", "R"],
            2,
            "clients=99",
        ),
        (["umap", "STORE", "--features", "made", "--out", "x.bmp"], 2, "x.bmp"),
        (["umap", "STORE", "--features", "made", "--color", "x", "--out", "x.png"], 2, "color"),
        (["umap", "STORE", "--features", "made", "--out", "s3://b/x.png"], 2, "on this machine"),
        (["keyframes", "no.mp4", "--out", "s.png"], 1, "no.mp4: no such file"),
        (["fly"], 2, "No such command"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(
    arguments: list[str],
    status: int,
    message: str,
    embedded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    done = run(*[str(embedded) if argument == "STORE" else argument for argument in arguments])
    assert message in done.stderr.replace("\n", " "), done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not any(tmp_path.iterdir())
