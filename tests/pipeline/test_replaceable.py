"""Outputs never take the place of an input, or of a file that a store or a run needs."""

import json
from pathlib import Path

import pytest

from kinestore.pipeline.commands.models import predict_command
from kinestore.pipeline.commands.store import export_command
from kinestore.pipeline.describe import describe
from kinestore.pipeline.export import export
from kinestore.pipeline.replaceable import OF_RUNS, check_replaceable
from kinestore.pipeline.runs import writer
from kinestore.pipeline.runs.reader import read_config
from kinestore.store import Store, StoreError, UsageError
from tests.helpers.embedded import embedded_store
from tests.helpers.numbered import make_video


def test_an_export_does_not_replace_a_part_of_the_store(tmp_path: Path) -> None:
    features = embedded_store(tmp_path / "store").load("vector")
    (part,) = (tmp_path / "store/views").glob("vector@*/*.parquet")
    before = part.read_bytes()
    for out in (part, part.with_name("mine.parquet"), tmp_path / "store/cache/x.npz"):
        with pytest.raises(UsageError, match=r"is in a folder of the store .*store; name another"):
            export(features, out=out)
    assert part.read_bytes() == before
    export(features, out=tmp_path / "store/vector.npz")
    assert Store(tmp_path / "store").load("vector").clip_ids == features.clip_ids


def test_an_export_names_its_wrong_suffix_before_the_store_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"features\.mat: must end in \.parquet"):
        export_command(str(tmp_path), "vector", to=Path("features.mat"))


def test_predictions_replace_neither_the_manifest_nor_the_run(tmp_path: Path) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text("video\na.mp4\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"job": "train"}))
    (run / "metrics.csv").write_text("epoch\n")
    link = tmp_path / "link.csv"
    link.symlink_to(manifest)
    for out, why in [
        (manifest, "is what the command reads; name another file"),
        (link, "is what the command reads; name another file"),
        (run / "metrics.csv", "is a file of the run itself; name another"),
    ]:
        with pytest.raises(UsageError, match=f"out={out}: {why}"):
            predict_command(run, str(manifest), out=out)
    assert manifest.read_text() == "video\na.mp4\n"


def test_pictures_are_not_drawn_over_a_video_or_into_a_store(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.gif", codec="gif", pixel_format="rgb8")
    with pytest.raises(UsageError, match=r"walk.gif: is what the command reads"):
        check_replaceable(video, inputs=(f"file://{video}",))
    embedded_store(tmp_path / "store")
    with pytest.raises(UsageError, match=r"is in a folder of the store"):
        check_replaceable(tmp_path / "store/clips/umap.png")


def test_the_tables_of_a_run_are_all_protected() -> None:
    tables = {name for name in writer._RESULTS if name.endswith((".csv", ".parquet"))}
    assert tables == OF_RUNS


def test_a_damaged_run_or_store_is_not_called_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"job": "tra')
    with pytest.raises(UsageError, match=r"run=.*cannot be used \(.*config.json: cannot be read"):
        read_config(tmp_path)
    with pytest.raises(UsageError, match=r"config\.json: cannot be read"):
        describe(tmp_path)
    (tmp_path / "kinestore.json").write_text("{")
    with pytest.raises(StoreError, match="if the folder is a store, write"):
        Store(tmp_path)
    with pytest.raises(StoreError, match=r"config.json: is a file; name the folder of a store"):
        Store(tmp_path / "config.json")


def test_a_run_that_another_command_writes_is_refused_until_it_ends(tmp_path: Path) -> None:
    out, config = tmp_path / "run", {"job": "train"}
    with (
        writer.open_run(out, config, columns=("epoch",)),
        pytest.raises(UsageError, match="another command is writing that run; wait for it"),
    ):
        writer.open_run(out, config, columns=("epoch",), resume=True)
    with writer.open_run(out, config, columns=("epoch",)) as run:
        run.add({"epoch": 1})
    assert (out / "metrics.csv").read_text().splitlines() == ["epoch", "1"]
