"""The extraction job on a real Dask cluster and real files."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.decode_and_embed import embed_clips
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.result import ExtractionResult
from kinestore.pipeline.extraction.tasks import Shard
from kinestore.store import Store, UsageError
from kinestore.store.status import status
from tests.helpers.numbered import make_video

NUM_GOOD = 6


def counts(summary: ExtractionResult) -> tuple[int, int, int]:
    return summary.num_done, summary.num_skipped, summary.num_failed


def rows(store: Path, *, kinds: str = "*") -> dict[str, bytes]:
    """The bytes of every part, by what it belongs to and its hash: numbers may differ."""
    found = {}
    for path in sorted(store.rglob("*.parquet")):
        if path.match(f"{kinds}/*"):
            found[f"{path.parent.name}/{path.name.partition('-')[2]}"] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good clips in two classes, a copy of one, and a manifest that adds two bad inputs."""
    folder = tmp_path_factory.mktemp("videos")
    lines = ["video,label,group"]
    for number in range(NUM_GOOD):
        name = f"{number}.mp4"
        make_video(folder / name, 12 + number, first=number * 7)
        lines.append(f"{name},{'even' if number % 2 == 0 else 'odd'},g{number % 3}")
    (folder / "good.csv").write_text("\n".join(lines) + "\n")
    shutil.copy(folder / "0.mp4", folder / "copy-of-0.mp4")
    (folder / "text.avi").write_text("no video at all\n")
    lines += ["copy-of-0.mp4,even,g0", "text.avi,odd,g1", "absent.mp4,odd,g1"]
    (folder / "mixed.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def mixed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExtractionResult]:
    """A store that was filled from the mixed manifest, and what the job said."""
    store = tmp_path_factory.mktemp("stores") / "mixed"
    return store, extract(videos / "mixed.csv", store=store, extractors=["motion"], workers=2)


def test_good_clips_are_stored_and_bad_ones_are_in_the_ledger(
    mixed: tuple[Path, ExtractionResult],
) -> None:
    path, summary = mixed
    assert counts(summary) == (NUM_GOOD + 1, 0, 2)
    assert summary.num_frames == sum(12 + n for n in range(NUM_GOOD))  # the copy is not decoded
    failures = {Path(f.uri).name: (f.stage, f.kind) for f in Store(path).failures()}
    assert failures == {
        "text.avi": ("decode", "not-a-video"),
        "absent.mp4": ("read", "missing-file"),
    }


def test_same_bytes_under_two_names_are_embedded_once(mixed: tuple[Path, ExtractionResult]) -> None:
    found = status(mixed[0])
    assert (found.num_clips, found.num_sources) == (NUM_GOOD, NUM_GOOD + 1)
    assert [view["rows"] for view in found.views] == [NUM_GOOD]
    assert found.labels == {"even": 3, "odd": 3}


def test_the_store_holds_what_the_extractor_says_of_each_clip(
    mixed: tuple[Path, ExtractionResult], videos: Path
) -> None:
    from kinestore import extractors
    from kinestore.pipeline.video.decoded_video import DecodedVideo

    loaded = Store(mixed[0]).load("motion")
    motion = extractors.create("motion")
    for uri, row in zip(loaded.uris, loaded.features, strict=True):
        assert (extractors.embed_clip(motion, DecodedVideo(uri)).vector == row).all()
    by_name = dict(zip((Path(u).name for u in loaded.uris), loaded.labels, strict=True))
    assert [loaded.classes[by_name[f"{n}.mp4"]] for n in (1, 2)] == ["odd", "even"]


def test_the_same_job_again_does_nothing(
    mixed: tuple[Path, ExtractionResult], videos: Path
) -> None:
    path, _ = mixed
    before = rows(path, kinds="views/*")
    again = extract(videos / "mixed.csv", store=path, extractors=["motion"])
    assert counts(again) == (0, NUM_GOOD + 1, 2) and again.num_frames == 0
    assert rows(path, kinds="views/*") == before
    attempts = {Path(f.uri).name: f.attempt for f in Store(path).failures()}
    assert attempts == {"text.avi": 1, "absent.mp4": 2}  # absence is looked at again for nothing


def test_what_failed_is_retried_on_demand_and_taken_back_when_it_works(
    videos: Path, tmp_path: Path
) -> None:
    late = tmp_path / "late.mp4"
    (tmp_path / "m.txt").write_text(f"{videos / 'text.avi'}\n{late}\n")
    job = partial(
        extract, tmp_path / "m.txt", store=tmp_path / "store", extractors=["motion"], workers=1
    )
    assert counts(job()) == (0, 0, 2)
    make_video(late, 12)
    retried = job(config=ExtractionConfig(retry_failed=True))
    assert counts(retried) == (1, 0, 1)
    left = {Path(f.uri).name: f.attempt for f in Store(tmp_path / "store").failures()}
    assert left == {"text.avi": 2}


def test_a_changed_label_and_a_moved_file_are_recorded_without_decoding(
    videos: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.mp4"
    shutil.copy(videos / "1.mp4", moved)
    manifest, store = tmp_path / "m.csv", tmp_path / "store"
    manifest.write_text(f"video,label\n{videos / '1.mp4'},odd\n")
    extract(manifest, store=store, extractors=["motion"], workers=1)
    manifest.write_text(f"video,label,split\n{moved},renamed,test\n")
    again = extract(manifest, store=store, extractors=["motion"], workers=1)
    assert counts(again) == (0, 1, 0) and again.num_frames == 0
    loaded = Store(store).load("motion")
    assert (loaded.classes, loaded.splits, loaded.uris) == (["renamed"], ["test"], [str(moved)])


def test_bytes_do_not_depend_on_the_number_of_workers(videos: Path, tmp_path: Path) -> None:
    both = ["cnn-efficientnet-lite0", "motion"]
    stores = [tmp_path / "one", tmp_path / "two"]
    for count, store in enumerate(stores, start=1):
        extract(videos / "good.csv", store=store, extractors=both, workers=count)
    assert rows(stores[0]) == rows(stores[1])
    assert len(Store(stores[0]).views()) == 2


def test_a_new_extractor_computes_only_what_is_missing(videos: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    extract(
        videos / "good.csv",
        store=store,
        extractors=["motion"],
        workers=1,
        config=ExtractionConfig(limit=2),
    )
    more = extract(videos / "good.csv", store=store, extractors=["motion"], workers=1)
    assert counts(more) == (NUM_GOOD - 2, 2, 0)
    assert more.num_frames == sum(12 + n for n in range(2, NUM_GOOD))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extractors": []}, "extractors: name at least one"),
        ({"extractors": ["blip2"]}, "extractor 'blip2': must be one of .*cnn-efficientnet"),
        ({"extractors": ["motion"], "workers": 0}, "workers=0: must be 1 or more"),
    ],
)
def test_a_wrong_request_stops_before_the_store_is_made(
    settings: dict[str, object], message: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        extract(videos / "good.csv", store=tmp_path / "s", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": -1}, "limit=-1: must be 1 or more"),
        ({"clip_timeout_s": 0.0}, "clip_timeout_s=0.0: must be above 0"),
        ({"clip_timeout_s": float("inf")}, "clip_timeout_s=inf: must be above 0"),
    ],
)
def test_a_setting_out_of_bounds_is_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExtractionConfig(**settings)


def test_an_extractor_that_breaks_or_gives_nan_fails_that_clip_alone(
    videos: Path, tmp_path: Path
) -> None:
    import numpy as np

    from kinestore import extractors
    from kinestore.extractors import PreparedClip
    from kinestore.pipeline.extraction.planning import identify_all, plan
    from kinestore.pipeline.video.decoded_video import DecodedVideo
    from kinestore.pipeline.video.find_videos import find_videos
    from kinestore.store import Embedding

    class Moody:
        """Motion, but not for clips of 12 frames (an error) and 13 frames (not a number)."""

        def __init__(self) -> None:
            self._motion = extractors.create("motion")
            self.spec = self._motion.spec
            self.batch = 4

        def prepare(self, clip: DecodedVideo) -> PreparedClip:
            if clip.num_frames == 12:
                raise RuntimeError("shape mismatch\nin some kernel")
            return self._motion.prepare(clip)

        def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
            if any(clip.frame_index.max() == 13 for clip in batch):
                raise RuntimeError("too bright")
            found = self._motion.embed(batch)
            for embedding in found:
                if embedding.frame_index.max() == 12:
                    embedding.vector[3] = np.nan
            return found

    store, model = Store.create(tmp_path / "store"), Moody()
    inputs = identify_all(find_videos(videos / "good.csv").sources, store, lambda *_: None)
    shards = plan(inputs, store, {"motion": model.spec}, retry_failed=False)
    together = Shard(number=0, clips=tuple(clip for shard in shards for clip in shard.clips))
    models: dict[str, Any] = {"motion": model}
    receipt = extract_shard(
        store,
        together,
        {"motion": model.spec},
        lambda requests: [answer for _, answer in embed_clips(requests, producers=models)],
    )
    kinds = {Path(f.uri).name: f.kind for f in store.failures()}
    assert kinds == {
        "0.mp4": "extractor-error",
        "1.mp4": "not-finite",
        "2.mp4": "extractor-error",
    }
    assert all(f.view == model.spec.name for f in store.failures())
    assert len(receipt.done) == NUM_GOOD - 3 == len(store.load("motion").clip_ids)
    assert len(store.clips()) == NUM_GOOD
