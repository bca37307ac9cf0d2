"""What the writer commits, the reader takes."""

from pathlib import Path

import pytest

from kinestore.store import Clip, Source, Store
from tests.helpers.stored import INFO


@pytest.mark.parametrize(("length", "num_clips"), [(1 << 20, 1), (1 << 16, 256), (1 << 22, 2)])
def test_a_long_text_in_every_row_is_read_back(length: int, num_clips: int, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    clips = [
        Clip(
            clip_id=f"{number:032x}",
            source=Source(uri=f"/v/{number}.mp4", extra={"notes": "x" * length}),
            info=INFO,
        )
        for number in range(num_clips)
    ]
    store.append_clips(clips)
    read = Store(tmp_path / "s").clips()
    assert len(read) == num_clips
    assert all(len(text) == length for text in read.column("notes").to_pylist())
