"""A path is understood once, alike for every command; any bytes can be a name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path, open_storage
from kinestore.store.io.local_storage import LocalStorage


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_folder_in_texts_and_paths(home: Path) -> None:
    for named in ("~/s", Path("~/s")):
        assert open_storage(named).local_root == local_path(named) == home / "s"
    assert local_path("~") == home
    assert local_path("~root/x") == Path("~root/x").expanduser() != Path("~root/x")


def test_a_tilde_elsewhere_is_part_of_a_name(home: Path) -> None:
    for named in ("~no such user/x", "~$clip.mp4", "a/~", "./~/s"):
        assert local_path(named) == Path(named)
    assert open_storage("file:///~/s").local_root == Path("/~/s")


def test_without_a_home_folder_a_tilde_is_refused() -> None:
    code = (
        "import os, pwd; from kinestore.store.io.addresses import local_path; "
        "os.getuid() or os.setuid(54321); local_path('~/s')"
    )
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    if os.getuid() == 0:  # others have a home folder in /etc/passwd
        assert "~/s: there is no home folder" in ran.stderr


@pytest.mark.parametrize("named", ["", "a\0b", "file:///a%00b"])
def test_an_empty_path_and_a_nul_are_refused(named: str) -> None:
    with pytest.raises(UsageError, match="must have characters, and no NUL"):
        open_storage(named)


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, ord("/")} & {*name}))
def test_any_name_is_found_again_from_its_uri(name: bytes) -> None:
    path = Path("/videos", os.fsdecode(name))
    uri = LocalStorage(Path("/videos")).uri(os.fsdecode(name))
    assert uri.encode()  # a column of text can hold it
    if name not in (b".", b".."):
        assert os.fsencode(str(open_storage(uri).local_root)) == os.fsencode(path)


def test_a_uri_keeps_the_names_of_links_and_resolves_what_leads_up(tmp_path: Path) -> None:
    (tmp_path / "pool/inner").mkdir(parents=True)
    (tmp_path / "run").symlink_to("pool/inner")
    folder = LocalStorage(tmp_path)
    assert folder.uri("run/a.mp4") == f"{tmp_path}/run/a.mp4"
    assert folder.uri("run/../a.mp4") == f"{tmp_path}/pool/a.mp4"
    (tmp_path / "loop").symlink_to("loop")
    assert folder.uri("loop/../a.mp4") == f"{tmp_path}/a.mp4"
