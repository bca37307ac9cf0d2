"""What can be known before the first second of work is checked before it."""

from pathlib import Path

import pytest

from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.store import KinestoreError, Store, UsageError
from tests.helpers.nobody import as_nobody, open_folder


@pytest.mark.parametrize(
    ("manifest", "extractor", "message"),
    [
        ("video,fps\na.mp4,25\n", "motion", "column 'fps': the store keeps that name"),
        ("video\n", "motion", "names no video"),
        ("clip\na.mp4\n", "motion", "has no column 'video'"),
        ("video\na.mp4\n", "montion", "extractor 'montion': must be one of"),
    ],
)
def test_a_mistake_is_found_before_a_store_is_made(
    manifest: str, extractor: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text(manifest)
    with pytest.raises(UsageError, match=message):
        extract(tmp_path / "m.csv", store=tmp_path / "s", extractors=[extractor])
    assert not (tmp_path / "s").exists()


def test_a_store_that_cannot_be_written_to_is_refused_before_the_folder_is_walked() -> None:
    with open_folder() as folder:
        (folder / "locked").mkdir(mode=0o555)
        with as_nobody(), pytest.raises(KinestoreError, match="locked cannot be written to"):
            extract(folder / "absent", store=folder / "locked/new/s", extractors=["motion"])


def test_an_existing_store_is_refused_where_a_folder_of_it_cannot_be_written_to() -> None:
    with open_folder() as folder:
        (folder / "a.mp4").write_bytes(b"no video")
        Store.create(folder / "s")
        (folder / "s").chmod(0o555)
        with as_nobody(), pytest.raises(KinestoreError, match="s cannot be written to"):
            extract(folder / "a.mp4", store=folder / "s", extractors=["motion"])


def test_a_store_whose_path_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its path must be UTF-8"):
        extract(tmp_path, store=tmp_path / "caf\udce9", extractors=["motion"])
