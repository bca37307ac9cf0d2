"""Official lists of training and test clips beside a folder of videos."""

import json
from pathlib import Path

import pytest

import kinestore as ks
from kinestore.pipeline.video.find_videos import FoundVideos, find_videos
from kinestore.pipeline.video.split_files import mark_splits
from kinestore.store import Source, Store, UsageError
from tests.helpers.numbered import make_video


def videos(folder: Path, *names: str) -> FoundVideos:
    for name in names:
        path = folder / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return find_videos(folder / "videos")


def write(folder: Path, name: str, content: object) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return str(folder / name)


def marks(found: FoundVideos) -> dict[str, tuple[str | None, str | None]]:
    return {Path(s.uri).stem: (s.split, s.label) for s in found.sources}


def test_ucf101(tmp_path: Path) -> None:
    found = videos(tmp_path, "Run/v_a.avi", "Run/v_b.avi", "Sit/v_c.avi", "Sit/extra.avi")
    files = [
        write(tmp_path, "TrainList01.txt", "Run/v_a.avi 1\r\nSit/v_gone.avi 2\r\n"),
        write(tmp_path, "testlist01.txt", "Run/v_b.avi\nSit/v_c.avi\n"),
        write(tmp_path, "classInd.txt", "1 Run\n2 Sit\n"),
    ]
    marked = mark_splits(found, files)
    assert marks(marked) == {
        "v_a": ("train", "Run"),
        "v_b": ("test", "Run"),
        "v_c": ("test", "Sit"),
        "extra": (None, "Sit"),
    }
    notes = " ".join(marked.notes)
    assert "listed clips without a video: 1 ('Sit/v_gone')" in notes
    assert "videos that no file lists, and that have no split: 1" in notes and "extra.avi" in notes
    assert (
        marked.left_out["listed_without_a_video"] == marked.left_out["video_in_no_split_file"] == 1
    )
    assert all(not source.extra for source in marked.sources)


def test_several_divisions_of_ucf101_are_columns(tmp_path: Path) -> None:
    found = videos(tmp_path, "Run/v_a.avi", "Run/v_b.avi")
    for number, (train, test) in enumerate([["a", "b"], ["b", "a"]], start=1):
        write(tmp_path, f"lists/trainlist0{number}.txt", f"Run/v_{train}.avi 1\n")
        write(tmp_path, f"lists/testlist0{number}.txt", f"Run/v_{test}.avi\n")
    first, second = mark_splits(found, [str(tmp_path / "lists")]).sources
    assert (first.split, dict(first.extra)) == ("train", {"split_1": "train", "split_2": "test"})
    assert (second.split, dict(second.extra)) == ("test", {"split_1": "test", "split_2": "train"})


def test_hmdb51_with_a_folder_of_lists(tmp_path: Path) -> None:
    found = videos(tmp_path, "brush_hair/x_1.avi", "brush_hair/x_2.avi", "cart/x_1.avi")
    write(tmp_path, "lists/brush_hair_test_split1.txt", "x_1.avi 1 \nx_2.avi 0 \n")
    write(tmp_path, "lists/cart_test_split1.txt", "x_1.avi 2 \n")
    marked = mark_splits(found, [str(tmp_path / "lists")])
    listed = [(s.label, s.split) for s in marked.sources]
    assert listed == [("brush_hair", "train"), ("brush_hair", None), ("cart", "test")]
    assert any("that this division does not use: 1" in note for note in marked.notes)


@pytest.mark.parametrize("mark", ["validate", "VAL", "Validation"])
def test_kinetics_csv(mark: str, tmp_path: Path) -> None:
    found = videos(tmp_path, "a/-abc_000010_000020.mp4", "b/x_y.mp4", "b/other.mp4")
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    files = [
        write(tmp_path, "a.csv", f'{head}"bowling, fast",-abc,10,20,train,0\n'),
        write(tmp_path, "b.csv", f"{head}archery,x_y,1,11,{mark},0\n"),
    ]
    marked = mark_splits(found, files)
    assert marks(marked)["-abc_000010_000020"] == ("train", "bowling, fast")
    assert marks(marked)["x_y"] == ("val", "archery")
    assert any("label is that of the files, not of their folder: 2" in n for n in marked.notes)


def test_lists_decide_over_folders_of_splits(tmp_path: Path) -> None:
    found = videos(tmp_path / "v", "train/run/a.mp4", "test/sit/b.mp4")
    files = [write(tmp_path, "trainlist01.txt", "sit/b.mp4 1\n")]
    files.append(write(tmp_path, "testlist01.txt", "run/a.mp4\n"))
    assert marks(mark_splits(found, files)) == {"a": ("test", "run"), "b": ("train", "sit")}


def test_lists_label_the_clips_of_folders_of_splits_without_classes(tmp_path: Path) -> None:
    found = videos(tmp_path / "v", "train/k_000010_000020.mp4", "val/x_000001_000011.mp4")
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    rows = "bowling,k,10,20,train,0\narchery,x,1,11,val,0\n"
    marked = mark_splits(found, [write(tmp_path, "kinetics.csv", head + rows)])
    assert sorted(marks(marked).values()) == [("train", "bowling"), ("val", "archery")]


def test_kinetics_json(tmp_path: Path) -> None:
    found = videos(tmp_path, "k_000001_000011.mp4")
    row = {"annotations": {"label": "archery", "segment": [1.0, 11.0]}, "subset": "validate"}
    marked = mark_splits(found, [write(tmp_path, "validate.json", {"k": row})])
    assert marks(marked) == {"k_000001_000011": ("val", "archery")}


def test_something_something(tmp_path: Path) -> None:
    found = videos(tmp_path, "1.webm", "2.webm", "3.webm")
    template = "Holding [something] next to [something]"
    one = {"id": "1", "label": "holding cup next to jar", "template": template}
    files = [
        write(tmp_path, "something-something-v2-train.json", [one]),
        write(tmp_path, "something-something-v2-VALIDATION.json", [{**one, "id": 2}]),
        write(tmp_path, "something-something-v2-test.json", [{"id": "3"}]),
        write(tmp_path, "labels.json", {"Holding something next to something": "0"}),
    ]
    label = "Holding something next to something"
    wanted = {"1": ("train", label), "2": ("val", label), "3": ("test", None)}
    assert marks(mark_splits(found, files)) == wanted


LABEL = "Putting something that can't roll, so it slides down"


@pytest.mark.parametrize("answers_first", [True, False])
def test_answers_label_the_test_clips_of_something_something(
    answers_first: bool, tmp_path: Path
) -> None:
    found = videos(tmp_path, "1.webm", "2.webm", "3.webm")
    train = {"id": "1", "template": LABEL.replace("something", "[something]")}
    files = [
        write(tmp_path, "test-answers.csv", f"2;{LABEL}\r\n3;Holding something\r\n"),
        write(tmp_path, "test.json", [{"id": "2"}, {"id": "3"}]),
        write(tmp_path, "train.json", [train]),
        write(tmp_path, "labels.json", {LABEL: "0", "Holding something": "1"}),
    ]
    marked = mark_splits(found, files if answers_first else files[::-1])
    wanted = {"1": ("train", LABEL), "2": ("test", LABEL), "3": ("test", "Holding something")}
    assert marks(marked) == wanted
    assert marks(mark_splits(found, files[:1]))["2"] == ("test", LABEL)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (
            "something-something-v1-train.csv",
            "7;Holding something\n",
            ("train", "Holding something"),
        ),
        ("something-something-v1-test.csv", "7\n", ("test", None)),
        ("validation.csv", "id;label\n7;Holding [something]\n", ("val", "Holding something")),
        ("test-answers.csv", '7;"Moving a; then b"\n', ("test", "Moving a; then b")),
        ("test-answers.csv", "video_id;label\n7;Moving a; then b\n", ("test", "Moving a; then b")),
        ("test-answers.csv", "7;\n", ("test", None)),
    ],
)
def test_lists_of_identities_and_labels(
    name: str, text: str, wanted: tuple[str, str | None], tmp_path: Path
) -> None:
    found = videos(tmp_path, "7.webm")
    assert marks(mark_splits(found, [write(tmp_path, name, text)])) == {"7": wanted}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"answers.csv": "1;Holding"}, "its name must say train, validation or test"),
        (
            {"test-answers.csv": "1;Holding\n1;Moving"},
            "has 1 as test of class 'Moving', and .*Hold",
        ),
        (
            {"test-answers.csv": "1;Holding", "train.json": '[{"id": 1}]'},
            "has 1 as train, and .*test",
        ),
        ({"test-answers.csv": "1;Holding", "labels.json": '{"Sit": "0"}'}, "'Holding' is none of"),
        ({"test-answers.csv": '1;"Holding'}, "test-answers.csv: cannot be read"),
        ({"test-answers.csv": "1,Holding"}, "is none of the known formats: .*csv .id;label."),
        ({"trainlist1.txt": "R/a.avi 1", "testlist1.txt": "R/a.avi"}, "has a as test of class 'R'"),
        ({"R_test_split1.txt": "a.avi 1\na.avi 2"}, "has a as test of class 'R', and .* as train"),
        ({"list1.txt": "R/a.avi"}, "its name must say train, validation or test"),
        ({"train_or_test.txt": "R/a.avi"}, "its name must say train, validation or test"),
        ({"train.txt": "what is this"}, "is none of the known formats: UCF101's"),
        ({"train.json": "[1, 2]"}, "is none of the known formats"),
        ({"train.json": "{"}, "cannot be read"),
        ({"train.json": "[" * 100_000}, "cannot be read"),
        ({"train.txt": ""}, "is none of the known formats"),
        ({"classInd.txt": "1 R"}, "the files list no clip"),
        ({"trainlist1.txt": "R/a.avi", "classInd.txt": "1 S"}, "class 'R' is none of .*classInd"),
        ({"trainlist1.txt": "R/gone.avi"}, "none of the listed clips is among the 1 videos"),
        (
            {"k.csv": "label,youtube_id,time_start,time_end,split\nx,a,0,1,some"},
            "split 'some': must",
        ),
    ],
)
def test_lists_that_could_mislead_are_one_sentence(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    found = videos(tmp_path, "R/a.avi")
    with pytest.raises(UsageError, match=message) as caught:
        mark_splits(found, [write(tmp_path, name, text) for name, text in files.items()])
    assert "\n" not in str(caught.value)


def test_a_video_with_a_mark_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    found = videos(tmp_path, "R/a.avi")
    with pytest.raises(UsageError, match=r"absent\.txt: no such file"):
        mark_splits(found, [str(tmp_path / "absent.txt")])
    manifest = write(tmp_path, "m.csv", "video,split\nvideos/R/a.avi,test\n")
    with pytest.raises(UsageError, match="is marked 'test' already; leave out the files"):
        mark_splits(find_videos(manifest), [write(tmp_path, "train.txt", "R/a.avi")])


def test_a_name_that_fits_two_videos_is_refused(tmp_path: Path) -> None:
    found = videos(tmp_path, "x/a.avi", "y/a.avi")
    with pytest.raises(UsageError, match=r"a fits .*x/a\.avi and .*y/a\.avi; keep one"):
        mark_splits(found, [write(tmp_path, "train.json", [{"id": "a"}])])


def test_extraction_stores_the_marks_and_replaces_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "v" / name).mkdir(parents=True)
        make_video(tmp_path / "v" / name / f"{name}.mp4", 4, first=ord(name))
    for number, (train, test) in enumerate([["a", "b"], ["b", "a"]], start=1):
        write(tmp_path, f"trainlist0{number}.txt", f"{train}/{train}.avi 1\n")
        write(tmp_path, f"testlist0{number}.txt", f"{test}/{test}.avi\n")
    for number, wanted in ((1, ["train", "test"]), (2, ["test", "train"])):
        files = tuple(str(tmp_path / f"{name}list0{number}.txt") for name in ("train", "test"))
        config = ks.ExtractionConfig(splits=files)
        ks.extract(tmp_path / "v", store=tmp_path / "s", frames=["first:1@16"], config=config)
        rows = sorted(Store(tmp_path / "s").sources(), key=lambda row: str(row["label"]))
        assert [row["split"] for row in rows] == wanted


SEGMENT = '{"abc": {"subset": "train", "annotations": {"segment": [%s, 9]}}}'
KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", KINETICS + "run,abc,inf,5,train\n", "abc: from 'inf' to '5' s"),
        ("a.csv", KINETICS + "run,abc,1,nan,train\n", "abc: from '1' to 'nan' s"),
        (
            "a.json",
            {"abc": {"subset": "train", "annotations": {"segment": [None, 10]}}},
            "from None",
        ),
        (
            "a.json",
            {"abc": {"subset": "train", "annotations": {"segment": [[1], 9]}}},
            r"from \[1\]",
        ),
        (
            "a.json",
            '{"abc": {"subset": "train", "annotations": {"segment": [Infinity, 9]}}}',
            "from inf",
        ),
        ("a.csv", KINETICS + "run,abc,1,2,holdin\n", "split 'holdin': must be train, val or test"),
    ],
)
def test_times_and_words_that_mean_nothing_are_one_sentence(
    name: str, content: object, message: str, tmp_path: Path
) -> None:
    found = videos(tmp_path, "abc.mp4")
    with pytest.raises(UsageError, match=message):
        mark_splits(found, [write(tmp_path, name, content)])


def test_empty_first_lines_and_other_words_of_kinetics_are_read(tmp_path: Path) -> None:
    found = videos(tmp_path, "abc_000001_000009.mp4", "def.mp4")
    listed = write(tmp_path, "a.csv", f"\n{KINETICS}run,abc,1,9,Training\nsit,def,,,dev\n")
    assert marks(mark_splits(found, [listed])) == {
        "abc_000001_000009": ("train", "run"),
        "def": ("val", "sit"),
    }


def test_all_segments_of_a_listed_file_have_its_mark(tmp_path: Path) -> None:
    sources = [
        Source(uri=f"/v/{file}.mp4{part}")
        for file, part in [("x", "#t=0,1"), ("x", "#t=0.5,1.5"), ("y", "#frames=3,9"), ("z", "")]
    ]
    listed = [
        write(tmp_path, "trainlist01.txt", "Run/x.mp4 1\n"),
        write(tmp_path, "testlist01.txt", "Run/y.mp4\n"),
    ]
    marked = mark_splits(FoundVideos(sources=sources), listed)
    assert [source.split for source in marked.sources] == ["train", "train", "test", None]
