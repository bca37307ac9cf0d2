"""Stores that are damaged at random raise nothing but KinestoreError, and touch nothing outside."""

import faulthandler
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinestore.pipeline.verification.verify import verify
from kinestore.store import FramesSpec, KinestoreError, Store
from kinestore.store.status import status
from tests.helpers.fuzzing import MANY_EXAMPLES
from tests.helpers.stored import SPEC, clip, embedding, failure

SECONDS = 10
FRAMES = FramesSpec(kind="rgb", shape=(1, 2, 2, 3), settings={})
ODD = ["null", "-1", "1e400", "[[]]", '"../../x"', "{}", "9" * 40, '"\\u0000"', "NaN", "true"]

Damage = Callable[[Path, Path], object]
"""Changes one file of a store; the second path is outside."""


def flip(place: int, value: int) -> Damage:
    def damage(path: Path, outside: Path) -> None:
        raw = bytearray(path.read_bytes())
        if raw:
            raw[place % len(raw)] = value
            path.write_bytes(raw)

    return damage


def cut(place: int) -> Damage:
    return lambda path, outside: path.write_bytes(path.read_bytes()[: place % 999])


def replace_by(kind: str) -> Damage:
    def damage(path: Path, outside: Path) -> None:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "link":
            path.symlink_to(outside / "mine")
        elif kind == "kernel":
            path.symlink_to("/proc/kmsg")
        elif kind == "linked folder":
            shutil.rmtree(path.parent)
            path.parent.symlink_to(outside)

    return damage


def edit(text: str, place: int) -> Damage:
    def damage(path: Path, outside: Path) -> None:
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, UnicodeDecodeError):
            return
        key = sorted(found)[place % len(found)]
        path.write_text(json.dumps(found).replace(json.dumps(found[key]), text))

    return damage


def rename(name: str) -> Damage:
    return lambda path, outside: path.rename(path.with_name(name))


damages = st.one_of(
    st.builds(flip, st.integers(0, 1 << 20), st.integers(0, 255)),
    st.builds(cut, st.integers(0, 1 << 20)),
    st.builds(
        replace_by,
        st.sampled_from(["nothing", "folder", "pipe", "loop", "link", "kernel", "linked folder"]),
    ),
    st.builds(edit, st.sampled_from(ODD), st.integers(0, 9)),
    st.builds(
        rename, st.sampled_from(["9" * 230 + "-0123456789abcdef.parquet", "x", ".part-x", "a b.h5"])
    ),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.create(tmp_path_factory.mktemp("sound") / "store")
    store.append_clips([clip("a", label="run"), clip("b", label="sit")])
    store.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    store.append_failures([failure()])
    store.append_frames(FRAMES, ["a"], np.zeros((1, *FRAMES.shape), np.uint8))
    store.take_snapshot("s")
    return store.path


def uses(path: Path) -> Iterator[Callable[[], object]]:
    yield lambda: Store(path)
    yield lambda: status(path)
    yield lambda: Store(path).load("vector")
    yield lambda: Store(path, snapshot="s").load("vector")
    yield lambda: Store(path).sql("SELECT label, count(*) FROM clips GROUP BY label")
    yield lambda: Store(path).append_clips([clip("c")])
    yield lambda: Store(path).take_snapshot("t")
    yield lambda: verify(path)
    yield lambda: verify(path, repair=True)


@contextmanager
def deadline() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    faulthandler.dump_traceback_later(6 * SECONDS, exit=True)  # where Python's lock is held
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def attack(sound: Path, place: int, damage: Damage, chosen: set[int]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as new:
        path, outside = Path(new) / "store", Path(new) / "outside"
        shutil.copytree(sound, path)
        outside.mkdir()
        (outside / "mine").write_text("mine")
        files = sorted(one for one in path.rglob("*") if one.is_file())
        damage(files[place % len(files)], outside)
        for use in [use for number, use in enumerate(uses(path)) if number in chosen]:
            try:
                with deadline():
                    use()
            except KinestoreError:
                pass
        assert {one.name for one in outside.iterdir()} == {"mine"}
        assert (outside / "mine").read_text() == "mine"
        assert {one.name for one in Path(new).iterdir()} == {"store", "outside"}


chosen_uses = st.sets(st.integers(0, 8), min_size=2, max_size=3)
common = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=200, **common)  # type: ignore[arg-type]
@given(place=st.integers(0, 1000), damage=damages, chosen=chosen_uses)
def test_a_damaged_store_gives_errors_of_kinestore_alone(
    sound: Path, place: int, damage: Damage, chosen: set[int]
) -> None:
    attack(sound, place, damage, chosen)


@pytest.mark.slow
@settings(max_examples=MANY_EXAMPLES, **common)  # type: ignore[arg-type]
@given(place=st.integers(0, 1000), damage=damages, chosen=chosen_uses)
def test_many_damaged_stores_give_errors_of_kinestore_alone(
    sound: Path, place: int, damage: Damage, chosen: set[int]
) -> None:
    attack(sound, place, damage, chosen)
