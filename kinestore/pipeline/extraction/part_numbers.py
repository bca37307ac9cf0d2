"""Numbers of a job's parts: a range of its own, which the same job finds again after a kill."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator

from kinestore.pipeline.extraction.planning import Inputs
from kinestore.store import Store, StoreError
from kinestore.store.io.validated_read import read_json
from kinestore.store.marker import STORE_MARKER

RECORD = "job.json"
"""File in the store's folder with the range of the job that runs, or was interrupted."""

MAX_RANGE = 1_000_000
"""Numbers above those of the store's parts that a record may claim: anybody may have written it."""


@contextlib.contextmanager
def reserved_numbers(target: Store, job: str, count: int) -> Iterator[range]:
    """Yield numbers for the parts of a job, above those of every job that started earlier.

    Of two contradicting rows, that with the higher number stands: so the rows of a job stand
    against those of a job that started earlier and ends later. The same job gets the same range
    after an interruption, unless another one has started since. Without locks, as in an object
    store, this does not hold for jobs that start at the same moment.

    Args:
        target: The store.
        job: Identity of the job.
        count: How many; nothing is written for none.
    """
    if not count:
        yield range(0)
        return
    with target.storage.locked(STORE_MARKER):
        found, numbers = _read(target)
        if found != job or len(numbers) != count:
            first = max(target.next_number(), numbers.stop)
            numbers = range(first, first + count)
            record = {"job": job, "first": numbers.start, "end": numbers.stop}
            target.storage.write(RECORD, json.dumps(record) + "\n")
    yield numbers
    with target.storage.locked(STORE_MARKER):
        if _read(target)[0] == job:
            target.storage.remove(RECORD)


def job_identity(inputs: Inputs, outputs: Iterable[str], *, retry_failed: bool) -> str:
    """Return a hash of all that a job's shards and rows depend on."""
    clips = [
        [clip_id, [[s.uri, s.label, s.group, s.split, sorted(s.extra.items())] for s in same]]
        for clip_id, same in inputs.clips.items()
    ]
    described = json.dumps([clips, list(outputs), retry_failed])
    return hashlib.sha256(described.encode(errors="surrogateescape")).hexdigest()


def _read(target: Store) -> tuple[str, range]:
    """Return the recorded job and its numbers; a record that cannot be right counts as none."""
    with contextlib.suppress(FileNotFoundError, StoreError):
        record = read_json(target.storage, RECORD)
        job, first, end = record.get("job"), record.get("first"), record.get("end")
        if isinstance(job, str) and type(first) is int and type(end) is int:
            highest = target.next_number() + MAX_RANGE
            if 0 <= first < end <= highest:
                return job, range(first, end)
    return "", range(0)
