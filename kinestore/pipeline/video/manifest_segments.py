"""Segments of videos in a manifest: the columns start_s and end_s, or start_frame and end_frame."""

from collections.abc import Mapping, Sequence

from kinestore.pipeline.video.segment import Segment
from kinestore.store import UsageError

SEGMENT_COLUMNS = ("start_s", "end_s", "start_frame", "end_frame")


def segment_of_row(
    row: Sequence[str | None], columns: Mapping[str, int], where: str
) -> Segment | None:
    """Return the segment that a row names, or None for the whole video.

    Args:
        row: A value for each column.
        columns: Positions of columns, by name.
        where: Manifest and line, for messages.

    Raises:
        UsageError: If only one end is given, or the ends are no numbers or out of order.
    """
    given = {
        name: (row[columns[name]] or "").strip() for name in SEGMENT_COLUMNS if name in columns
    }
    named = {name: text for name, text in given.items() if text and text.lower() != "nan"}
    if not named:
        return None
    listed = ", ".join(f"{name}={text}" for name, text in named.items())[:300]
    unit = next((u for u in ("s", "frame") if {f"start_{u}", f"end_{u}"} == set(named)), None)
    if unit is None:
        raise UsageError(
            f"{where} has {listed}: a segment needs start_s and end_s, or start_frame and "
            "end_frame, and nothing else"
        )
    try:
        start, end = (float(named[f"{side}_{unit}"]) for side in ("start", "end"))
    except ValueError:
        raise UsageError(f"{where}: {listed}: must be numbers") from None
    try:
        return Segment(by_frames=unit == "frame", start=start, end=end)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
