"""Captions of clips, from the captioning extractors of a store."""

from collections.abc import Collection
from dataclasses import dataclass

from kinestore.store import Store

LONGEST = 1_000
"""Longest caption that is shown, in characters: a store may come from anywhere."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A caption of a clip.

    Attributes:
        text: At most `LONGEST` characters.
        frame: Index of the captioned frame; None where the store does not have it.
    """

    text: str
    frame: int | None


def captions(store: Store, clip_ids: Collection[str]) -> dict[str, Caption]:
    """Return the captions of some clips, those that have one.

    Of several views with a caption for the same clip, the first by name is taken: `blip` before
    `blip-text`, which embeds the same words.

    Args:
        store: Store with the captions.
        clip_ids: The clips.
    """
    wanted, found = set(clip_ids), dict[str, Caption]()
    for view in sorted(store.views(), key=lambda view: (view.spec.extractor, view.name)):
        for clip_id, text, frame in view.captions():
            if clip_id in wanted and clip_id not in found:
                found[clip_id] = Caption(text=text[:LONGEST], frame=frame)
    return found
