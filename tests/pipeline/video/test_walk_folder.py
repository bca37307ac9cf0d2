"""Everything in a folder is found, or named as left out."""

import os
from pathlib import Path

import pytest

from kinestore.pipeline.video.find_videos import FoundVideos, find_videos
from kinestore.store import KinestoreError, UsageError
from tests.helpers.nobody import as_nobody, open_folder


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found_names(found: FoundVideos, folder: Path) -> dict[str, str | None]:
    return {s.uri.removeprefix(f"{folder}/"): s.label for s in found.sources}


def test_links_to_class_folders_are_followed_by_their_own_names(tmp_path: Path) -> None:
    make(tmp_path, "pool/x/r.mp4", "v/sit/s.mp4", "other.mp4")
    (tmp_path / "v/run").symlink_to(tmp_path / "pool/x")
    (tmp_path / "v/sit/again.mp4").symlink_to(tmp_path / "other.mp4")
    found = find_videos(tmp_path / "v")
    assert found_names(found, tmp_path / "v") == {
        "run/r.mp4": "run",
        "sit/again.mp4": "sit",
        "sit/s.mp4": "sit",
    }
    assert found.notes == []


@pytest.mark.parametrize("target", [".", "..", "/", "run", "../v/run", "run/../.."])
def test_links_back_are_left_out_and_named(target: str, tmp_path: Path) -> None:
    v = make(tmp_path, "v/run/a.mp4", "beside.mp4") / "v"
    (v / "loop").symlink_to(target)
    (v / "run/inner").symlink_to("..")
    found = find_videos(v)
    assert found_names(found, v) == {"run/a.mp4": "run"}
    assert found.left_out["link_to_a_folder_read_already"] == 2
    assert "'loop', 'run/inner'" in found.notes[0]


def test_folders_of_links_to_each_other_are_listed_once_each(tmp_path: Path) -> None:
    for level in range(30):  # 2**30 paths
        make(tmp_path, f"pool/{level}/{level}.mp4")
        for name in "ab" if level < 29 else "":
            (tmp_path / f"pool/{level}/{name}").symlink_to(f"../{level + 1}")
    (tmp_path / "v").mkdir()
    (tmp_path / "v/start").symlink_to(tmp_path / "pool/0")
    found = find_videos(tmp_path / "v")
    assert len(found.sources) == 30 and found.left_out["link_to_a_folder_read_already"] == 29


SUFFIXES = """
    MTS m2ts ts vob gif mxf ogv 3gp 3g2 asf divx dv f4v rm rmvb m2v m4v mpv y4m wtv Mp4 QT ogm h264
    mjpeg MOD dvr-ms
"""


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_suffixes_that_ffmpeg_reads_are_videos(suffix: str, tmp_path: Path) -> None:
    assert len(find_videos(make(tmp_path, f"run/a.{suffix}")).sources) == 1


def test_hidden_trash_and_system_files_are_left_out_and_named(tmp_path: Path) -> None:
    hidden = "._a.mp4 .hidden/a.mp4 .Trash-1000/files/a.mp4 __MACOSX/run/a.mp4 @eaDir/a.mp4"
    hidden += " $RECYCLE.BIN/a.mp4 lost+found/a.mp4 #recycle/a.mp4 run/~$a.mp4 run/.DS_Store"
    hidden += " run/@eaDir/a.mp4/SYNOVIDEO.mp4"
    make(tmp_path, "run/a.mp4", "run/~a.mp4", *hidden.split())
    (tmp_path / "System Volume Information").mkdir()
    found = find_videos(tmp_path)
    assert list(found_names(found, tmp_path)) == ["run/a.mp4", "run/~a.mp4"]
    assert found.left_out["hidden"] == len(hidden.split()) + 1
    assert "hidden files and folders" in found.notes[0]
    named = find_videos(tmp_path / ".hidden")  # what the user names is no trash
    assert len(named.sources) == 1


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    make(tmp_path, "run/a.mp4", "labels.csv", "run/a.txt", "run/b.txt", "README")
    found = find_videos(tmp_path)
    assert found.left_out["not_a_video_by_suffix"] == 4
    assert "4 (.txt 2, no suffix 1, .csv 1)" in found.notes[0]
    with pytest.raises(UsageError, match=r"names no video; files .*: 1 \(.png 1\)"):
        find_videos(make(tmp_path / "empty", "a.png"))


def test_a_folder_that_may_not_be_read_is_a_failure_with_its_reason() -> None:
    with open_folder() as v:
        make(v, "run/a.mp4", "secret/b.mp4")
        (v / "secret").chmod(0)
        with as_nobody():
            found = find_videos(v)
        assert [s.label for s in found.sources] == ["run"]
        (error,) = found.unreadable.values()
        assert error.kind == "unreadable-folder"
        assert str(error) == f"{v}/secret: cannot be looked at (Permission denied)"
        (v / "secret").chmod(0o755)
        v.chmod(0)
        with as_nobody(), pytest.raises(KinestoreError, match=r"cannot be read .Permission"):
            find_videos(v)
        v.chmod(0o755)


def test_broken_links_are_failures_whether_to_a_film_or_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "run/a.mp4")
    for name in ("gone.mp4", "jump", "v1.2 of it", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself").symlink_to("itself")
    found = find_videos(tmp_path)
    assert list(found_names(found, tmp_path)) == ["gone.mp4", "run/a.mp4"]
    names = [uri.rpartition("/")[2] for uri in found.unreadable]
    assert sorted(names) == ["itself", "jump", "v1.2 of it"]
    assert found.left_out["not_a_video_by_suffix"] == 1


def test_names_of_any_bytes_are_found_and_stand_in_utf8(tmp_path: Path) -> None:
    names = [b"caf\xe9.mp4", b"a\nb.mp4", b"-i.mp4", b"a:b.mp4", b"%E9.mp4", b"'\"?#.mp4"]
    folder = os.fsencode(tmp_path) + b"/na\xefve"
    Path(os.fsdecode(folder)).mkdir()
    for name in names:
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(name)
    found = find_videos(tmp_path)
    assert len(found.sources) == len(names)
    assert {s.label for s in found.sources} == {"na%EFve"}
    assert all(s.uri.encode() and s.uri.startswith("file:///") for s in found.sources)


def test_folders_whose_names_differ_in_unicode_form_or_spaces_are_one_class(
    tmp_path: Path,
) -> None:
    make(tmp_path, "caf\u00e9/a.mp4", "cafe\u0301/b.mp4", "run/c.mp4", "run /d.mp4", "Run/e.mp4")
    found = find_videos(tmp_path)
    assert {s.label for s in found.sources} == {"caf\u00e9", "run", "Run"}
    assert "labels that are read without blanks" in found.notes[0]
    assert "'Run' and 'run' differ only in case" in found.notes[1]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("m.json", b'[{"video": "a.mp4"}]', "text"),
        ("m.lst", b"a.mp4\n", "text"),
        ("m.xlsx", b"PK\x03\x04" + bytes(99), "an archive or a spreadsheet"),
        ("m.pq", b"PAR1" + bytes(99), "a Parquet file"),
        ("m.csv.gz", b"\x1f\x8b" + bytes(99), "a compressed file"),
    ],
)
def test_lists_with_other_suffixes_are_refused_as_such(
    name: str, content: bytes, what: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"is {what}, no video; a manifest's name must end in"):
        find_videos(tmp_path / name)
    (tmp_path / "blob").write_bytes(bytes(range(256)))
    assert len(find_videos(tmp_path / "blob").sources) == 1
