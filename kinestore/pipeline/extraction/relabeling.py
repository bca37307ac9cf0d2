"""What a job changes of the labels, groups, splits and own columns that a store has."""

from collections.abc import Iterator, Sequence

from kinestore.pipeline.notes import shown
from kinestore.store import Clip, Store

_MOST_NAMED = 3


def notes_on_relabeling(changed: Sequence[Clip], target: Store) -> Iterator[str]:
    """Yield a sentence for each column that changes, with the number of videos and some of them.

    Args:
        changed: Rows that will replace those of the store.
        target: The store before that.
    """
    if not changed:
        return
    stored = {row["uri"]: row for row in target.clips().to_pylist()}
    known = [clip for clip in changed if clip.source.uri in stored]
    own = sorted({name for clip in known for name in clip.source.extra})
    for column in ("label", "group", "split", *own):
        found = []
        for clip in known:
            source = clip.source
            is_own = column in source.extra
            new = (source.extra[column] if is_own else getattr(source, column, None)) or None
            old = stored[source.uri].get(column) or None
            if old != new:
                found.append(f"{_value(old)} to {_value(new)} of {source.uri}")
        if found:
            listed = ", ".join(found[:_MOST_NAMED])
            yield f"{target.address}: videos whose {column} changes: {len(found)} ({listed})"


def _value(text: str | None) -> str:
    return "none" if text is None else shown(text)
