"""Videos with the same bytes: they are one clip, which has one label, group and split."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from kinestore.pipeline.notes import shown
from kinestore.store import Source, Store


def notes_on_same_bytes(clips: Mapping[str, Sequence[Source]], target: Store) -> Iterator[str]:
    """Yield sentences on files with the same bytes, and on what they contradict each other in.

    Args:
        clips: The sources of a job by clip identity, in their order.
        target: The store; sources that it has under other paths count as well.
    """
    if same := sum(len(sources) - 1 for sources in clips.values()):
        yield f"files with the same bytes as another, which are one clip with it: {same}"
    everything = _with_stored(clips, target)
    for column in ("label", "group", "split"):
        apart = [
            sources
            for sources in everything.values()
            if len({getattr(source, column) for source in sources}) > 1
        ]
        if apart:
            first = apart[0]
            other = next(s for s in first if getattr(s, column) != getattr(first[0], column))
            named = [f"{shown(s.uri)} ({_value(s, column)})" for s in (first[0], other)]
            yield (
                f"clips whose bytes stand in several files with more than one {column}: "
                f"{len(apart)}; the newest {column} counts, as of {' and '.join(named)}"
            )


def _with_stored(clips: Mapping[str, Sequence[Source]], target: Store) -> dict[str, list[Source]]:
    now = {source.uri for sources in clips.values() for source in sources}
    everything: dict[str, list[Source]] = defaultdict(list)
    for row in target.sources():
        if row["clip_id"] in clips and row["uri"] not in now:
            named = {name: row[name] for name in ("uri", "label", "group", "split")}
            everything[row["clip_id"]].append(Source(**named))
    for clip_id, sources in clips.items():
        everything[clip_id] += sources
    return everything


def _value(source: Source, column: str) -> str:
    value = getattr(source, column)
    return f"no {column}" if value is None else f"{column} {shown(value)}"
