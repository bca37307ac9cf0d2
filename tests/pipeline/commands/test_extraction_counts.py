"""After an extraction the terminal and the summary say how many videos each class has."""

import json
from pathlib import Path

import pytest

from kinestore.pipeline.commands.tables import say_extraction
from kinestore.pipeline.extraction.extract_videos import extract
from tests.helpers.numbered import make_video


def test_classes_and_splits_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["train/run/a", "train/run/b", "test/sit/c", "test/d"]
    for number, name in enumerate(names):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path, 12, first=number * 12)
    result = extract(
        tmp_path / "videos", store=tmp_path / "store", extractors=["motion"], workers=1
    )
    say_extraction(result)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "2 classes: run 2, sit 1, none 1; no groups; 2 splits: test 2, train 2"
    summary = json.loads((tmp_path / "store" / "summary.json").read_text())
    assert summary["num_by_label"] == {"run": 2, "sit": 1, "": 1}
    assert summary["num_by_group"] == {"": 4}
    assert summary["num_by_split"] == {"train": 2, "test": 2}


def test_each_of_several_labels_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        make_video(tmp_path / f"{number}.mp4", 12, first=number * 12)
    (tmp_path / "m.csv").write_text("video,labels\n0.mp4,a|b\n1.mp4,b|c\n")
    store = tmp_path / "store"
    result = extract(tmp_path / "m.csv", store=store, extractors=["motion"], workers=1)
    say_extraction(result)
    said = capsys.readouterr().out
    assert "3 classes: a 1, b 2, c 1" in said and "No video has a label" not in said


def test_a_job_with_nothing_to_compute_counts_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos" / "run"
    folder.mkdir(parents=True)
    for number in range(2):
        make_video(folder / f"{number}.mp4", 12, first=number * 12)
    for _ in range(2):
        result = extract(folder.parent, store=tmp_path / "s", extractors=["motion"], workers=1)
    say_extraction(result)
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("Nothing to compute: ") and said[-2].endswith("2 clips already.")
    assert said[-1] == "1 class: run 2; no groups; no splits"
