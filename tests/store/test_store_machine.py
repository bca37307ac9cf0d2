"""The store against a plain dict: whatever is added, broken, repaired or pinned, in any order."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kinestore.pipeline.extraction.ipc import ClipOutcome, ClipRequest, ClipResult
from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.tasks import ClipTask, Shard
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Features, Source, Store, StoreError, UsageError
from kinestore.store.io.local_storage import LocalStorage
from tests.helpers.stored import INFO, SPEC, clip, embedding

VIEW = f"views/{SPEC.name}"
IDS = st.lists(st.sampled_from("abcd"), min_size=1, unique=True)
SHIFTS = st.integers(0, 3)
LABELS = st.sampled_from(["run", "sit"])
NAMES = st.sampled_from(["s", "t"])


class ClipRow(NamedTuple):
    clip_id: str
    uri: str
    label: str


class VectorRow(NamedTuple):
    clip_id: str
    value: int


Rows = list[ClipRow] | list[VectorRow]


class Killed(BaseException):
    """What nothing catches."""


@contextlib.contextmanager
def dying_after(commits: int) -> Iterator[list[Path]]:
    """Publish so many parts; at the next, leave the temporary file behind and be gone."""
    published: list[str] = []
    died: list[Path] = []

    publish = LocalStorage.publish

    def publish_or_die(storage: LocalStorage, unfinished: Path, name: str) -> None:
        if len(published) == commits:
            died.append((storage.local_root / name).parent / f"{unfinished.name}0")
            shutil.copy(unfinished, died[0])
            raise Killed
        published.append(name)
        publish(storage, unfinished, name)

    with mock.patch.object(LocalStorage, "publish", publish_or_die):
        yield died


class StoreMachine(RuleBasedStateMachine):
    """`self.parts` is the model: the rows of each part, by its path; later parts win."""

    @initialize(begin=st.lists(st.tuples(IDS, SHIFTS), min_size=2, max_size=4))
    def make(self, begin: list[tuple[list[str], int]]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.create(self.folder / "store")
        self.parts: dict[str, Rows] = {}
        self.leftover = False
        self.snapshots: dict[str, dict[str, Rows]] = {}
        for value, (ids, shift) in enumerate(begin):
            self.append_clips(ids, shift, "run")
            self.append_embeddings(ids, value)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    # What the model says

    def rows(
        self, parts: dict[str, Rows]
    ) -> tuple[dict[str, ClipRow], dict[str, int], set[str], set[ClipRow]]:
        """The newest row of each clip that stands, vectors, clips known, all rows that stand."""
        ordered = [row for name in sorted(parts) for row in parts[name]]
        sources = {row.uri: row for row in ordered if isinstance(row, ClipRow)}
        stand = set(sources.values())
        newest = {r.clip_id: r for r in ordered if isinstance(r, ClipRow) and r in stand}
        vectors = {row.clip_id: row.value for row in ordered if isinstance(row, VectorRow)}
        known = {row.clip_id for row in ordered if isinstance(row, ClipRow)}
        return newest, vectors, known, stand

    def files(self) -> set[str]:
        found = self.store.path.rglob("*.parquet")
        return {path.relative_to(self.store.path).as_posix() for path in found}

    def lost(self) -> bool:
        return any(not pinned.keys() <= self.parts.keys() for pinned in self.snapshots.values())

    def committed(self, rows: Rows) -> None:
        """Note the one part that has come, or that none has where nothing was new."""
        new = self.files() - self.parts.keys()
        assert len(new) == bool(rows)
        self.parts.update(dict.fromkeys(new, rows))

    # What is done

    @rule(ids=IDS, shift=SHIFTS, label=LABELS)
    def append_clips(self, ids: list[str], shift: int, label: str) -> None:
        rows = [ClipRow(i, f"/{(ord(i) + shift) % 5}.avi", label) for i in ids]
        stand = self.rows(self.parts)[3]
        new = [row for row in rows if row not in stand]
        given = [clip(row.clip_id, uri=row.uri, label=row.label) for row in rows]
        assert self.store.append_clips(given) == len(new)
        self.committed(new)

    @rule(ids=IDS, value=st.integers(0, 9))
    def append_embeddings(self, ids: list[str], value: int) -> None:
        there = self.rows(self.parts)[1]
        new = [VectorRow(i, value) for i in ids if i not in there]
        given = [embedding(value, ord(i)) for i in ids]
        assert self.store.append(SPEC, ids, given) == len(new)
        self.committed(new)

    @precondition(lambda self: self.parts)
    @rule(data=st.data())
    def change_a_byte_and_repair(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.parts)))
        path = self.store.path / name
        raw = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        with contextlib.suppress(StoreError, UsageError):  # a changed value may pass unseen
            self.store.load("vector")
        assert (name, "broken-part") in [(f.path, f.kind) for f in verify(self.store.path).findings]
        del self.parts[name]
        repaired = verify(self.store.path, repair=True)
        assert name in repaired.dropped and len(repaired.dropped) == 1 + self.leftover
        assert repaired.sound == (not self.lost())
        self.leftover = False

    @rule(ids=IDS, shift=SHIFTS, commits=st.integers(0, 2))
    def extract_and_be_killed(self, ids: list[str], shift: int, commits: int) -> None:
        """A worker does a shard, and dies as it publishes a part; two commits are all it has."""
        _, vectors, known, _ = self.rows(self.parts)
        rows = [ClipRow(i, f"/{(ord(i) + shift) % 5}.avi", "run") for i in ids]
        tasks = [
            ClipTask(
                clip_id=row.clip_id,
                sources=(Source(uri=row.uri, label=row.label),),
                outputs=("vector",),
                known=row.clip_id in known,
            )
            for row in rows
        ]
        new = [row for row in rows if row.clip_id not in vectors]
        embedded = [VectorRow(row.clip_id, 7) for row in new]
        sources = [row for row in new if row.clip_id not in known]
        done: list[Rows] = [rows for rows in (sources, embedded) if rows][:commits]
        letter = {row.uri: row.clip_id for row in rows}

        def embed(requests: Sequence[ClipRequest]) -> list[ClipOutcome]:
            return [
                ClipResult(
                    info=INFO,
                    embeddings={name: embedding(7, ord(letter[uri])) for name in names},
                    errors={},
                    seconds={},
                )
                for uri, names, _ in requests
            ]

        shard = Shard(number=self.store.next_number(), clips=tuple(tasks))
        with dying_after(commits) as died, contextlib.suppress(Killed):
            extract_shard(Store(self.store.path), shard, {"vector": SPEC}, embed)
        self.leftover |= bool(died)
        for part in done:
            folder = "clips/" if isinstance(part[0], ClipRow) else "views/"
            (name,) = (n for n in self.files() - self.parts.keys() if n.startswith(folder))
            self.parts[name] = part
        assert self.files() == self.parts.keys()

    @rule()
    def repair(self) -> None:
        report = verify(self.store.path, repair=True)
        assert len(report.dropped) == self.leftover
        self.leftover = False

    @precondition(lambda self: self.parts)
    @rule(data=st.data())
    def delete_a_part(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.parts)))
        (self.store.path / name).unlink()
        del self.parts[name]

    @rule(name=NAMES)
    def take_a_snapshot(self, name: str) -> None:
        known = self.snapshots.get(name)
        try:
            taken = self.store.take_snapshot(name)
        except UsageError:
            assert known is not None and known.keys() != self.parts.keys()
            return
        assert known is None or known.keys() == self.parts.keys()
        assert taken.parts.keys() == self.parts.keys()
        self.snapshots[name] = dict(self.parts)

    # What is read

    def check_load(self, store: Store, parts: dict[str, Rows]) -> None:
        newest, vectors, _, _ = self.rows(parts)
        complete = sorted(newest.keys() & vectors.keys())
        loaded: Features | None = None
        try:
            loaded = store.load("vector")
        except UsageError:
            assert not complete
        if loaded is not None:
            assert loaded.clip_ids == complete
            assert loaded.features.tolist() == [[vectors[i], ord(i)] for i in complete]
            labels = [loaded.classes[number] for number in loaded.labels]
            assert labels == [newest[i].label for i in complete]
            assert loaded.uris == [newest[i].uri for i in complete]
            assert loaded.missing == sorted(newest.keys() - vectors.keys())

    @invariant()
    def load(self) -> None:
        self.check_load(self.store, self.parts)

    @invariant()
    def load_snapshots(self) -> None:
        for name, pinned in self.snapshots.items():
            store = Store(self.store.path, snapshot=name)
            if pinned.keys() <= self.parts.keys():
                self.check_load(store, pinned)
                continue
            with pytest.raises(StoreError, match=f"is gone since snapshot '{name}' was taken"):
                store.clips(), store.load("vector")

    @invariant()
    def check_everything(self) -> None:
        newest, vectors, known, _ = self.rows(self.parts)
        report = verify(self.store.path)
        expected = {"broken-snapshot"} if self.lost() else set()
        if vectors.keys() - known:
            expected.add("orphan-rows")
        # A view whose parts were all deleted is there still, with no row.
        view_is_there = (self.store.path / VIEW / "view.json").exists()
        if view_is_there and newest.keys() - vectors.keys():
            expected.add("missing-rows")
        if self.leftover:
            expected.add("temporary-file")
        assert {finding.kind for finding in report.findings} == expected
        assert report.num_parts == len(self.parts)
        assert report.sound == (not expected - {"missing-rows", "temporary-file"})


StoreMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
test_the_store_is_a_dict_of_parts = StoreMachine.TestCase
