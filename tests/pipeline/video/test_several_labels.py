"""Several labels of a clip: read, stored, loaded, and refused by training in one sentence."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kinestore as ks
from kinestore.pipeline.training.folds import keep_labeled
from kinestore.pipeline.video.find_videos import FoundVideos, find_videos
from kinestore.store import Clip, Source, Store, UsageError
from tests.helpers.numbered import make_video
from tests.helpers.stored import INFO, SPEC, embedding


def read(folder: Path, text: str, name: str = "m.csv") -> FoundVideos:
    (folder / name).write_text(text)
    return find_videos(folder / name)


def labels(found: FoundVideos) -> list[tuple[str | None, str]]:
    return [(source.label, source.extra.get("labels", "")) for source in found.sources]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("m.csv", "run|jump "),
        ("m.csv", "run;jump"),
        ("m.csv", '"[""run"", ""jump"", ""run""]"'),
        ("m.csv", "run| |jump|nan"),
    ],
)
def test_labels_with_a_separator_or_as_a_list(name: str, row: str, tmp_path: Path) -> None:
    found = read(tmp_path, f"video,Labels\na.mp4,{row}\nb.mp4,sit\nc.mp4,\n", name)
    assert labels(found) == [(None, '["run", "jump"]'), ("sit", ""), (None, "")]
    (note,) = (note for note in found.notes if "videos with several labels" in note)
    assert ": 1, such as 'run' and 'jump'" in note


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_lists_of_parquet(name: str, kind: pa.DataType, tmp_path: Path) -> None:
    values = pa.array([["run", "jump"], ["sit"], [], None], kind)
    table = pa.table({"video": ["a.mp4", "b.mp4", "c.mp4", "d.mp4"], name: values})
    pq.write_table(table, tmp_path / "m.parquet")
    found = find_videos(tmp_path / "m.parquet")
    assert labels(found) == [(None, '["run", "jump"]'), ("sit", ""), (None, ""), (None, "")]


def test_lists_that_grow_too_much_are_refused(tmp_path: Path) -> None:
    long = "x" * 60_000
    values = pa.array([[long] * 50] * 2000, pa.list_(pa.string()))
    table = pa.table({"video": [f"{n}.mp4" for n in range(2000)], "label": values})
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(UsageError, match=r"m\.parquet"):
        find_videos(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,labels\na.mp4,x|y\nb.mp4,x;y\n", r"has '\|' and ';' between labels"),
        ("video,label,labels\na.mp4,x,y\n", "has the columns 'label' and 'labels'; leave one out"),
    ],
)
def test_what_could_mislead_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("row", ["['run', 'sit']", "['run']", "[1, 2]", '["run", null]'])
def test_lists_that_are_no_json_lists_of_texts_are_refused(row: str, tmp_path: Path) -> None:
    quoted = row.replace('"', '""')
    with pytest.raises(UsageError, match=r"column 'labels' has .* no JSON list of texts"):
        read(tmp_path, f'video,labels\na.mp4,"{quoted}"\n')


def test_a_bar_in_the_column_label_is_one_label_and_noted(tmp_path: Path) -> None:
    found = read(tmp_path, "video,label\na.mp4,run|jump\n")
    assert labels(found) == [("run|jump", "")]
    assert any(
        "'run|jump' is read as one label; name the column 'labels'" in n for n in found.notes
    )


def test_several_labels_are_stored_loaded_and_refused_in_training(tmp_path: Path) -> None:
    for number in range(4):
        make_video(tmp_path / f"{number}.mp4", 4, first=number)
    manifest = tmp_path / "m.csv"
    manifest.write_text("video,labels\n0.mp4,run|jump\n1.mp4,sit\n2.mp4,run\n3.mp4,\n")
    config = ks.ExtractionConfig(device="cpu")
    ks.extract(manifest, store=tmp_path / "s", extractors=["motion"], workers=1, config=config)
    features = Store(tmp_path / "s").load("motion")
    by_name = dict(zip((Path(uri).stem for uri in features.uris), features.label_sets, strict=True))
    assert by_name == {"0": ("run", "jump"), "1": (), "2": (), "3": ()}
    assert features.classes == ["jump", "run", "sit"] and sorted(features.labels) == [-1, -1, 1, 2]
    with pytest.raises(
        UsageError, match=r"labels: 1 of 4 clips have several, .*0\.mp4 \('run', 'ju"
    ):
        keep_labeled(features)
    manifest.write_text("video,labels\n0.mp4,run\n1.mp4,sit\n2.mp4,run\n3.mp4,\n")
    again = ks.extract(manifest, store=tmp_path / "s", extractors=["motion"], workers=1)
    assert again.num_done == 0
    mended = Store(tmp_path / "s").load("motion")
    assert mended.label_sets == [] and mended.classes == ["run", "sit"]
    assert len(keep_labeled(mended).labels) == 3


def test_a_column_labels_of_an_older_store_is_no_list(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    for name, text in {"a": "run, jump", "b": "[1, 2]", "c": '["one"]', "d": "[" * 9000}.items():
        source = Source(uri=f"/{name}.mp4", label="x", extra={"labels": text})
        store.append_clips([Clip(clip_id=name, source=source, info=INFO)])
        store.append(SPEC, [name], [embedding(1, 2)])
    features = store.load("vector")
    assert features.label_sets == [] and features.classes == ["x"]
