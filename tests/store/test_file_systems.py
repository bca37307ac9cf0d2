"""File systems that lack calls, are full, or may only be read: optional calls may fail."""

import errno
import fcntl
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestore.pipeline.system_errors import describe_error
from kinestore.pipeline.verification.verify import verify
from kinestore.store import FramesSpec, Store
from kinestore.store.io import atomic
from kinestore.store.io.mapped_array import create_array, map_array
from tests.helpers.paths import ROOT
from tests.helpers.stored import SPEC, clip, embedding

FRAMES = FramesSpec(kind="rgb", shape=(2, 4, 4, 3), settings={})
PICTURES = np.arange(2 * 96, dtype=np.uint8).reshape(2, *FRAMES.shape)


def fill_a_store(path: Path) -> bytes:
    """Write all that a store holds, and return the bytes of its parts."""
    store = Store.create(path)
    store.append_clips([clip("a", label="run"), clip("b", label="sit")])
    store.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    store.append_frames(FRAMES, ["a", "b"], PICTURES)
    store.take_snapshot("one")
    frames = Store(path).frames("rgb")
    np.testing.assert_array_equal(np.stack(list(frames)), PICTURES)
    assert store.load(["vector"]).features.tolist() == [[1, 2], [3, 4]]
    assert verify(path).sound
    assert [p.name for p in path.rglob(".part-*")] == []
    names = sorted(p for p in path.rglob("*") if p.suffix in (".h5", ".parquet"))
    return b"".join(name.name.encode() + name.read_bytes() for name in names)


def refuse(number: int, *, when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    """Return a maker of functions that fail with this number when the arguments are so."""

    def of(real: Callable[..., Any]) -> Callable[..., Any]:
        def refused(*arguments: Any, **named: Any) -> Any:
            if when(*arguments):
                raise OSError(number, os.strerror(number))
            return real(*arguments, **named)

        return refused

    return of


def is_folder(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").resolve().is_dir()


CALLS: dict[str, tuple[Any, str, Any]] = {
    "no fallocate": (os, "posix_fallocate", refuse(errno.EOPNOTSUPP)),
    "glibc's emulation of fallocate": (os, "posix_fallocate", refuse(errno.EBADF)),
    "no flush of folders": (os, "fsync", refuse(errno.EINVAL, when=is_folder)),
    "no permission to flush a folder": (os, "fsync", refuse(errno.EACCES, when=is_folder)),
    "no flush at all": (os, "fsync", refuse(errno.ENOTSUP)),
    "no hard links": (os, "link", refuse(errno.EPERM)),
    "links to nowhere": (os, "link", refuse(errno.EXDEV)),
    "no locks": (fcntl, "flock", refuse(errno.ENOLCK)),
    "locks are not implemented": (fcntl, "flock", refuse(errno.ENOSYS)),
    "no maps": (mmap, "mmap", refuse(errno.ENODEV)),
}


@pytest.mark.parametrize("lacking", CALLS)
def test_a_store_is_the_same_where_a_call_is_lacking(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fill_a_store(tmp_path / "usual")
    owner, name, refused = CALLS[lacking]
    monkeypatch.setattr(owner, name, refused(getattr(owner, name)))
    assert fill_a_store(tmp_path / "lacking") == expected


def test_a_file_system_that_counts_no_links_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat

    def without_links(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[3] = 0
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", without_links)
    atomic.write_text(tmp_path / "x", "whole")
    assert (tmp_path / "x").read_text() == "whole"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_flush_that_lost_data_is_an_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("before")
    monkeypatch.setattr(os, "fsync", refuse(number)(os.fsync))
    with pytest.raises(OSError, match="x") as caught:
        atomic.write_text(tmp_path / "x", "after")
    assert caught.value.errno == number and caught.value.filename == str(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.ENOTSUP])
def test_a_rename_that_is_refused_names_the_file_and_leaves_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", refuse(number)(Path.replace))
    with pytest.raises(OSError, match="html") as caught:
        atomic.write_text(tmp_path / "x.html", "page")
    assert str(tmp_path / "x.html") in describe_error(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_seen_before_an_array_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC)(os.posix_fallocate))
    with pytest.raises(OSError, match="No space"):
        create_array(tmp_path / "x.h5", "x", ["a"], (3,), "f4", fill=lambda array: array.fill(1))


def test_room_is_taken_block_by_block_where_nothing_reserves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, writing to a map on a full disk would end the process."""
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP)(os.posix_fallocate))
    path, clips = tmp_path / "x.h5", [f"{n}" for n in range(700)]
    create_array(path, "x", clips, (1000,), "f4", fill=lambda array: None)
    status = path.stat()
    assert status.st_size > 2 << 20 and status.st_blocks * 512 >= status.st_size
    clip_ids, values = map_array(path, "x")
    assert clip_ids == clips and not values.any()


SENTENCES = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "quota",
    errno.EFBIG: "ulimit -f",
    errno.EROFS: "mounted read-only",
    errno.EACCES: "no permission",
    errno.EMFILE: "ulimit -n",
    errno.ENAMETOOLONG: "shorter",
    errno.EIO: "check it",
    errno.ENOTSUP: "another",
}


@pytest.mark.parametrize("number", SENTENCES)
def test_a_message_says_where_it_failed_and_gives_a_remedy_that_fits(number: int) -> None:
    sentence = describe_error(OSError(number, os.strerror(number), "/out/x.png"))
    assert sentence.startswith("/out/x.png: ") and SENTENCES[number] in sentence
    assert ("make room" in sentence) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_abandoned_temporary_files_are_removed_by_the_next_write(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from kinestore.store.io.atomic import *\n"
        "with temporary(Path(sys.argv[1])) as unfinished: os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic.temporary(tmp_path) as other:  # which is in use, and stays
        atomic.write_text(tmp_path / "x", "next")
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "x", other])


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
int fsync(int fd) { static int (*f)(int); struct stat s; if (!f) f = dlsym(RTLD_NEXT, "fsync");
  if (!fstat(fd, &s) && S_ISDIR(s.st_mode)) { errno = EINVAL; return -1; } return f(fd); }
int flock(int fd, int op) { errno = ENOLCK; return -1; }
int link(const char *a, const char *b) { errno = EPERM; return -1; }
int linkat(int d, const char *a, int e, const char *b, int g) { errno = EPERM; return -1; }
int posix_fallocate(int fd, off_t o, off_t n) { return EOPNOTSUPP; }
int posix_fallocate64(int fd, off64_t o, off64_t n) { return EOPNOTSUPP; }
static void *map(void *a, size_t n, int p, int fl, int fd, off_t o) {
  static void *(*f)(void *, size_t, int, int, int, off_t);
  if (!f) f = dlsym(RTLD_NEXT, "mmap");
  if (fd >= 0 && (fl & MAP_SHARED) && (p & PROT_WRITE)) { errno = ENODEV; return MAP_FAILED; }
  return f(a, n, p, fl, fd, o); }
void *mmap(void *a, size_t n, int p, int fl, int fd, off_t o) { return map(a, n, p, fl, fd, o); }
void *mmap64(void *a, size_t n, int p, int fl, int fd, off64_t o) {
  return map(a, n, p, fl, fd, o); }
"""


@pytest.mark.slow
def test_a_store_is_the_same_under_a_c_library_that_lacks_all_of_these(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc, which makes the library of failing calls, is not on this machine")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library, "-ldl"], check=True)
    code = (
        "import sys; from pathlib import Path; from tests.store.test_file_systems import *\n"
        "fill_a_store(Path(sys.argv[1]))"
    )
    environment = os.environ | {"LD_PRELOAD": str(library)}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lacking")],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=120,
    )
    assert fill_a_store(tmp_path / "usual") == b"".join(
        p.name.encode() + p.read_bytes()
        for p in sorted((tmp_path / "lacking").rglob("*"))
        if p.suffix in (".h5", ".parquet")
    )


def mounted(folder: Path, command: str, *, kind: str = "tmpfs", options: str = "") -> str:
    """Run a command of bash where a file system is mounted at the folder; return its output."""
    folder.mkdir(exist_ok=True)
    script = f"mount -t {kind} {options} none '{folder}' && {{ {command}; }}"
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("mounting a file system needs root")
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not on this machine")
@pytest.mark.parametrize("suffix", [".h5", ".npz", ".parquet"])
def test_an_export_to_a_full_disk_is_one_sentence_and_leaves_the_earlier_file(
    suffix: str, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.helpers.mapped import make\n"
        "from kinestore.pipeline.export import export\n"
        "from kinestore.pipeline.system_errors import describe_error\n"
        "out = Path(sys.argv[1]); out.write_text('before')\n"
        "try: export(make(range(3000), width=60), out=out)\n"
        "except OSError as error: print(describe_error(error), out.read_text())\n"
        "print([p.name for p in out.parent.iterdir()])"
    )
    out = tmp_path / "small" / f"x{suffix}"
    told = mounted(out.parent, f'{sys.executable} -c "{code}" {out}; echo $?', options="-o size=1M")
    assert f"{out}: the disk is full; make room, or name a folder on another before" in told
    assert told.endswith(f"['x{suffix}']\n0\n")


def test_a_store_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    fill_a_store(tmp_path / "store")
    command = (
        "for words in status 'verify' 'failures' "
        f'"export --features vector --to {tmp_path}/x.h5"; do set -- $words; name=$1; shift; '
        f"{sys.executable} -m kinestore $name {tmp_path}/store $* || echo FAILED; done"
    )
    store = tmp_path / "store"
    script = f"mount --bind {store} {store} && mount -o remount,ro,bind {store} && {{ {command}; }}"
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not on this machine")
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("mounting a file system needs root")
    assert "FAILED" not in done.stdout and done.stderr == ""
    assert (tmp_path / "x.h5").exists()
