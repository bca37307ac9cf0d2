"""Temporary folders of killed runs are removed by the next run, and no others."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kinestore.pipeline.extraction.scratch_folder import scratch_folder


def test_only_folders_of_dead_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "video.mp4").write_bytes(b"kept")
    (tmp_path / f"kinestore-predict-{ended.pid}-a").mkdir()
    (tmp_path / f"kinestore-predict-{ended.pid}-a" / "link").symlink_to(mine)
    kept = {mine}
    for name in (f"kinestore-predict-{os.getppid()}-a", f"kinestore-other-{ended.pid}-a"):
        (tmp_path / name).mkdir()
        kept.add(tmp_path / name)
    with scratch_folder("predict") as folder:
        assert set(tmp_path.iterdir()) == kept | {folder}
        assert folder.stat().st_mode & 0o077 == 0
    assert set(tmp_path.iterdir()) == kept and (mine / "video.mp4").read_bytes() == b"kept"
