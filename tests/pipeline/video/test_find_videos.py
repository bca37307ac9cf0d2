import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.identity import identify
from kinestore.store import Source, UsageError


def test_class_folders_are_labels_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("run/b.AVI", "run/a.mp4", "sit/a.mkv", "loose.webm", "run/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [(Path(s.uri).name, s.label) for s in find_videos(tmp_path).sources]
    assert found == [("loose.webm", None), ("a.mp4", "run"), ("b.AVI", "run"), ("a.mkv", "sit")]


def test_csv_manifest_carries_known_and_unknown_columns(tmp_path: Path) -> None:
    manifest = tmp_path / "labels.csv"
    manifest.write_text(
        '\ufeffvideo,label,group,split,camera\na.avi,"run, fast",g1,train,left\nsub/b.avi,007,,,\n',
        encoding="utf-8",
    )
    assert find_videos(manifest).sources == [
        Source(
            uri=str(tmp_path / "a.avi"),
            label="run, fast",
            group="g1",
            split="train",
            extra={"camera": "left"},
        ),
        Source(uri=str(tmp_path / "sub/b.avi"), label="007", extra={"camera": ""}),
    ]


def test_parquet_and_text_manifests_name_the_same_videos(tmp_path: Path) -> None:
    parquet, text = tmp_path / "m.parquet", tmp_path / "m.txt"
    pq.write_table(pa.table({"video": ["a.avi", "b.avi"], "label": [1, None]}), parquet)
    text.write_text("a.avi\n\nb.avi\n")
    assert [s.label for s in find_videos(parquet).sources] == ["1", None]
    assert [s.uri for s in find_videos(parquet).sources] == [
        s.uri for s in find_videos(text).sources
    ]


def make_empty(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_of_training_and_test_clips_over_classes_are_splits(tmp_path: Path) -> None:
    make_empty(tmp_path, ["Train/run/a.mp4", "Train/sit/b.mp4", "test/run/c.mp4", "test/d.mp4"])
    found = find_videos(tmp_path)
    assert [(s.uri[-5], s.split, s.label) for s in found.sources] == [
        ("a", "Train", "run"), ("b", "Train", "sit"), ("d", "test", None), ("c", "test", "run")
    ]  # fmt: skip
    assert found.notes == [f"{tmp_path}: its folders 'Train', 'test' are read as splits"]


@pytest.mark.parametrize("other", ["other/run/x.mp4", "x.mp4"])
def test_folders_of_splits_beside_other_videos_are_none_and_it_is_told(
    other: str, tmp_path: Path
) -> None:
    make_empty(tmp_path, ["train/run/a.mp4", "validation/run/b.mp4", other])
    found = find_videos(tmp_path)
    assert {source.split for source in found.sources} == {None}
    (note,) = found.notes
    where = "'other'" if "/" in other else "'.'"
    assert f"not read as splits, since videos also lie beside them, in {where}" in note


@pytest.mark.parametrize(
    "folders", [["train", "tset"], ["entrenamiento", "prueba"], ["1_train", "2_test"], ["s1", "s2"]]
)
def test_folders_with_the_same_class_folders_that_are_no_splits_are_told(
    folders: list[str], tmp_path: Path
) -> None:
    make_empty(tmp_path, [f"{name}/{label}/a.mp4" for name in folders for label in ("run", "sit")])
    (note,) = find_videos(tmp_path).notes
    listed = ", ".join(map(repr, sorted(folders)))
    assert f"its folders {listed} have a class folder 'run' each, and are not read as" in note


@pytest.mark.parametrize("classes", [["train", "bus"], ["test", "val"], ["train"], ["dev", "exam"]])
def test_classes_whose_names_are_also_words_for_splits_stay_classes(
    classes: list[str], tmp_path: Path
) -> None:
    make_empty(tmp_path, [f"{name}/a.mp4" for name in classes])
    found = find_videos(tmp_path)
    assert [(s.label, s.split) for s in found.sources] == [(name, None) for name in sorted(classes)]
    assert not found.notes


def test_a_path_named_twice_is_one_source(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("a.avi\nb.avi\n./a.avi\n")
    assert [Path(s.uri).name for s in find_videos(tmp_path / "m.txt").sources] == ["a.avi", "b.avi"]
    (tmp_path / "m.csv").write_text("video,label\na.avi,run\na.avi,sit\n")
    with pytest.raises(UsageError, match=r"names .*a\.avi twice, with different columns"):
        find_videos(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "clip,label\na.avi,run\n", "no column 'video' .*clip, label"),
        ("m.csv", "", "no column 'video' .*none"),
        ("m.csv", "video,label\na.avi,run,extra\n", "line 2 has more fields than the header's 2"),
        ("m.csv", "video,label\n,run\n", "a row names no video"),
        ("m.csv", 'video\n"a.avi\n', "cannot be read as a manifest"),
        ("m.parquet", "not parquet", "cannot be read as a manifest"),
        ("m.txt", "\n", "names no video"),
    ],
)
def test_a_broken_manifest_is_one_sentence(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        find_videos(tmp_path / name)


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder, manifest or video"):
        find_videos(tmp_path / "absent")
    with pytest.raises(UsageError, match="names no video"):
        find_videos(tmp_path)


def test_identity_is_the_hash_of_the_bytes_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"same")
    (tmp_path / "b.avi").write_bytes(b"same")
    expected = hashlib.sha256(b"same").hexdigest()[:32]
    assert identify(str(tmp_path / "a.avi")) == identify(str(tmp_path / "b.avi")) == expected
    with pytest.raises(VideoError, match="no such file"):
        identify(str(tmp_path / "c.avi"))
