"""What a job changes of the labels, groups, splits and own columns that a store has."""

from collections.abc import Iterator, Sequence

from kinestore.pipeline.notes import shown
from kinestore.store import Clip, Store
from kinestore.store.schema import CLIPS

_MOST_NAMED = 3


def notes_on_relabeling(changed: Sequence[Clip], target: Store) -> Iterator[str]:
    """Yield a sentence for each column that changes, with the number of videos and some of them.

    Args:
        changed: Rows that will replace those of the store.
        target: The store before that.
    """
    if not changed:
        return
    table = target.clips()
    stored = {row["uri"]: row for row in table.to_pylist()}
    known = [clip for clip in changed if clip.source.uri in stored]
    own = {name for clip in known for name in clip.source.extra}
    own.update(name for name in table.column_names if name not in CLIPS.names)
    for column in ("label", "group", "split", *sorted(own)):
        found = []
        for clip in known:
            source = clip.source
            new = (source.extra.get(column) if column in own else getattr(source, column)) or None
            old = stored[source.uri].get(column) or None
            if old != new:
                found.append(f"{_value(old)} to {_value(new)} of {source.uri}")
        if found:
            listed = ", ".join(found[:_MOST_NAMED])
            yield f"{target.address}: videos whose {column} changes: {len(found)} ({listed})"


def _value(text: str | None) -> str:
    return "none" if text is None else shown(text)
