"""Small records for tests of the store."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kinestore.store import Clip, Embedding, Failure, Source, Store, VideoInfo, ViewSpec
from kinestore.store.io.storage import Storage

INFO = VideoInfo(
    num_frames=9,
    fps=25.0,
    width=64,
    height=48,
    codec="h264",
    duration_s=0.36,
    rotation=0,
    size_bytes=1234,
)
SPEC = ViewSpec(extractor="vector", shape=(2,), settings={"code": 1})


def clip(clip_id: str, **columns: str | None) -> Clip:
    """A clip; its path is made from its identity where none is given."""
    columns.setdefault("uri", f"/videos/{clip_id}.avi")
    return Clip(clip_id=clip_id, source=Source(**columns), info=INFO)  # type: ignore[arg-type]


def embedding(*values: float) -> Embedding:
    """A vector of these values, said to be of the first three frames."""
    vector = np.array(values, np.float32)
    return Embedding(vector=vector, frame_index=np.arange(3), pts_s=np.arange(3) / 25)


def failure(**changes: str | int) -> Failure:
    """A file that was not there."""
    columns: dict[str, str | int] = {"uri": "/x.avi", "clip_id": "", "view": "", "stage": "read"}
    columns |= {"kind": "missing-file", "message": "why", "when": "2026-01-01T00:00:00+00:00"}
    return Failure(**{**columns, **changes})  # type: ignore[arg-type]


def filled(address: str) -> Store:
    """Four clips in two parts and the embeddings of all but the last."""
    store = Store.create(address)
    store.append_clips([clip("a", label="run", split="train"), clip("b", label="sit")])
    store.append_clips([clip("c", label="run"), clip("d", label="sit")])
    store.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    store.append(SPEC, ["c"], [embedding(5, 6)])
    return store


def overwrite(storage: Storage, name: str, content: bytes) -> None:
    """Replace a file by other bytes, or make it."""
    with storage.temporary(name.rpartition("/")[0]) as unfinished:
        unfinished.write_bytes(content)
        storage.publish(unfinished, name)


def content(storage: Storage, name: str = "") -> bytes:
    """Return a file's bytes."""
    with storage.open(name) as handle:
        return handle.read()


def view_folder(store: Store, view: str = SPEC.name) -> Path:
    """The folder of a view's parts."""
    return store.path / "views" / view


@contextmanager
def small_disk(max_bytes: int = 4096) -> Iterator[None]:
    """No fixture: one would hold while pytest writes its dots, to a file perhaps."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
