"""What a store's extractors said of each clip in words."""

from collections.abc import Collection
from dataclasses import dataclass

from kinestore.store import Store

LONGEST = 1_000
"""Characters of a caption that are shown: a store may come from anywhere."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A caption of a clip.

    Attributes:
        text: At most `LONGEST` characters.
        frame: Index of the frame that it tells of; None where the store does not say.
    """

    text: str
    frame: int | None


def captions(store: Store, clip_ids: Collection[str]) -> dict[str, Caption]:
    """The captions of some clips, those that have one.

    Of several views with a caption for the same clip, the first by name is taken: `blip` before
    `blip-text`, which embeds the same words.

    Args:
        store: Where they are kept.
        clip_ids: Of which clips.
    """
    wanted, found = set(clip_ids), dict[str, Caption]()
    for view in sorted(store.views(), key=lambda view: (view.spec.extractor, view.name)):
        for clip_id, text, frame in view.captions():
            if clip_id in wanted and clip_id not in found:
                found[clip_id] = Caption(text=text[:LONGEST], frame=frame)
    return found
