"""Thumbnails, captions and file names of the misclassified clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kinestore.pipeline.previews.captions import captions
from kinestore.pipeline.previews.thumbnails import thumbnails
from kinestore.progress import Progress
from kinestore.store import Store, UsageError


@dataclass(frozen=True, kw_only=True)
class ClipCard:
    """A clip as the user knows it.

    Attributes:
        file: The name of its file, without its folders.
        caption: Text from a captioning extractor; None without one.
        picture: A WebP file; None where the video is gone or has changed.
    """

    file: str
    caption: str | None
    picture: bytes | None


def read_clip_cards(
    store: Store,
    clip_ids: Sequence[str],
    *,
    progress: Progress | None = None,
) -> dict[str, ClipCard]:
    """Read the cards of those of some clips that the store has.

    Raises:
        UsageError: If it has none of them.
    """
    table = store.clips().select(["clip_id", "uri"])
    uris = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
    known = [clip_id for clip_id in clip_ids if clip_id in uris]
    if clip_ids and not known:
        raise UsageError(
            f"store={store.address}: has none of the run's clips; name the store that it was made "
            "from"
        )
    texts = captions(store, known)
    pictures = thumbnails(store, known, progress=progress)
    return {
        clip_id: ClipCard(
            file=PurePosixPath(uris[clip_id]).name,
            caption=texts[clip_id].text if clip_id in texts else None,
            picture=pictures.get(clip_id),
        )
        for clip_id in known
    }
