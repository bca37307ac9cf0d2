"""Commands in odd surroundings: a deleted folder, settings that a notebook leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.embedded import embedded_store
from tests.helpers.paths import ROOT


def test_a_deleted_working_folder_and_a_notebooks_backend_are_no_traceback(tmp_path: Path) -> None:
    embedded_store(tmp_path / "store")
    picture = tmp_path / "partition.png"
    python = f"{sys.executable} -m kinestore"
    script = f"""
        {python} partition {tmp_path}/store --clients 2 --out {picture} || exit 9
        mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone
        {python} status {tmp_path}/store"""
    surroundings = {**os.environ, "MPLBACKEND": "bogus", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script],
        env=surroundings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert picture.exists()
    assert done.returncode == 2
    assert done.stderr == ("kinestore: the folder that you are in was deleted; `cd` to another\n")
