"""Stores of small videos whose frames are kept too, as `extract --frames` leaves them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinestore.pipeline.video.clip_format import ClipFormat, parse_clip_formats
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.identity import identify
from kinestore.store import Clip, Source, Store
from tests.helpers.numbered import make_video
from tests.helpers.stored import clip


def taken(text: str) -> ClipFormat:
    """What is kept, as `--frames` says it."""
    (found,) = parse_clip_formats([text]).values()
    return found


def keep(store: Store, sources: Sequence[Source], *frames: str) -> list[str]:
    """Add the videos and their frames; their clip_ids, in the order given."""
    videos = [DecodedVideo(source.uri) for source in sources]
    ids = [identify(source.uri) for source in sources]
    store.append_clips(
        [
            Clip(clip_id=clip_id, source=source, info=video.info)
            for clip_id, source, video in zip(ids, sources, videos, strict=True)
        ]
    )
    for text in frames:
        how = taken(text)
        store.append_frames(how.spec, ids, np.stack([how.frames_of(video) for video in videos]))
    return ids


def numbered_store(folder: Path, *frames: str, num_frames: Sequence[int] = (30, 41)) -> Store:
    """Videos of numbered frames, of classes "a" and "b" in turn."""
    folder.mkdir(exist_ok=True)
    sources = [
        Source(
            uri=str(make_video(folder / f"{number}.mp4", count, first=number)),
            label="ab"[number % 2],
            group=f"g{number // 2}",
        )
        for number, count in enumerate(num_frames)
    ]
    store = Store.create(folder / "store")
    keep(store, sources, *frames)
    return store


def coloured_store(folder: Path, *, num_clips: int = 24, frames: str = "segments:2x5@40") -> Store:
    """Clips of noise, without videos, that a channel's darkness tells apart: three classes."""
    store, how = Store.create(folder), taken(frames)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (num_clips, *how.spec.shape), np.uint8)
    for number, picture in enumerate(pictures):
        picture[..., number % 3] //= 8
    names = [f"{number:032x}" for number in range(num_clips)]
    store.append_clips(
        [
            clip(name, label=("red", "green", "blue")[number % 3], group=f"g{number // 6}")
            for number, name in enumerate(names)
        ]
    )
    store.append_frames(how.spec, names, pictures)
    return store
