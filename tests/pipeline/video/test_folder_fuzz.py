"""Whatever stands in a folder: its videos in UTF-8, once each; nothing outside is listed."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.suffixes import is_hidden_name, is_video_name
from kinestore.store import KinestoreError
from kinestore.store.io.addresses import local_path
from tests.helpers.fuzzing import MANY_EXAMPLES
from tests.helpers.nobody import as_nobody

FEW = settings(max_examples=100, deadline=2000, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=MANY_EXAMPLES)

ENTRY = st.tuples(
    st.sampled_from(["folder", "file", "link", "pipe", "locked"]),
    st.integers(0, 20),  # the folder that it lies in
    st.one_of(
        st.sampled_from([b"a.mp4", b"b.MTS", b".c.mp4", b"@eaDir", b"run", b"\xe9.mp4", b"n.txt"]),
        st.binary(min_size=1, max_size=6).filter(lambda name: not {0, 47} & {*name}),
    ),
    st.one_of(st.integers(0, 20), st.sampled_from(["..", ".", "/", "gone", "gone.mp4", "../.."])),
)  # fmt: skip


def build(root: bytes, entries: list[tuple[str, int, bytes, int | str]]) -> list[bytes]:
    """Make the entries that can be made, and return the folders that stay locked."""
    folders, locked = [root], []
    for kind, place, name, target in entries:
        path = folders[place % len(folders)] + b"/" + name
        if os.path.lexists(path) or name in (b".", b".."):
            continue
        if kind in ("folder", "locked"):
            Path(os.fsdecode(path)).mkdir()
            folders.append(path)
            locked += [path] if kind == "locked" else []
        elif kind == "file":
            Path(os.fsdecode(path)).write_bytes(name)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            to = folders[target % len(folders)] if isinstance(target, int) else target.encode()
            Path(os.fsdecode(path)).symlink_to(os.fsdecode(to))
    return locked


def check(entries: list[tuple[str, int, bytes, int | str]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        locked = build(os.fsencode(root), entries)
        real = {
            os.path.join(folder, name)  # noqa: PTH118
            for folder, _, names in os.walk(root)
            for name in names
            if is_video_name(name)
            and not any(map(is_hidden_name, os.path.relpath(folder + "/" + name, root).split("/")))
        }
        for path in locked:
            os.chmod(path, 0)  # noqa: PTH101
        try:
            with as_nobody():
                found = find_videos(root)
        except KinestoreError as error:
            assert str(root) in str(error)
            return
        finally:
            for path in locked:
                os.chmod(path, 0o755)  # noqa: PTH101
        paths = [str(local_path(source.uri)) for source in found.sources]
        assert len(set(paths)) == len(paths)
        for source in found.sources:
            assert source.uri.encode() is not None and (source.label or "").encode() is not None
        assert all(path.startswith(f"{root}/") for path in paths)
        if not locked:
            assert real <= set(paths)
        shut = {os.fsdecode(path) for path in locked}
        for video in real - set(paths):  # what is missing lies in a folder that is named
            assert any(video.startswith(f"{folder}/") for folder in shut)


@FEW
@given(st.lists(ENTRY, max_size=12))
def test_folders_are_listed_whole(entries: list[tuple[str, int, bytes, int | str]]) -> None:
    check(entries)


@pytest.mark.slow
@MANY
@given(st.lists(ENTRY, max_size=12))
def test_many_folders_are_listed_whole(
    entries: list[tuple[str, int, bytes, int | str]],
) -> None:
    check(entries)
