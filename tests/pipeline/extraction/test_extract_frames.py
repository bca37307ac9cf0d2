"""Frames that the extraction job keeps as pictures, on a real Dask cluster and real files."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, functional

from kinestore import extractors
from kinestore.extractors import PreparedClip
from kinestore.pipeline.extraction import decode_and_embed
from kinestore.pipeline.extraction.decode_and_embed import embed_clips
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.ipc import ClipRequest, ClipResult
from kinestore.pipeline.extraction.planning import SHARD_BYTES, identify_all, plan, shard_size
from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.supervisor import Supervisor
from kinestore.pipeline.extraction.tasks import OutputSpec, ShardResult
from kinestore.pipeline.verification.verify import verify
from kinestore.pipeline.video import clip_format
from kinestore.pipeline.video.clip_format import (
    ClipFormat,
    covering_size,
    parse_clip_formats,
    resize_to_cover,
)
from kinestore.pipeline.video.decoded_video import DecodedVideo, decode_frames
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.store import Store, UsageError
from kinestore.store.status import status
from tests.helpers.numbered import make_video, read_number
from tests.helpers.paths import ROOT

KINDS = ("segments:2x5@48x32", "even:4@32", "first:6@40")
NUM_FRAMES = {"landscape.mp4": 30, "portrait.mp4": 25, "rotated.mp4": 30, "tiny.mp4": 20}
NUM_FRAMES |= {"short.mp4": 3, "single.mp4": 1}


def taken(text: str) -> ClipFormat:
    (found,) = parse_clip_formats([text]).values()
    return found


def make_pictures(width: int, height: int, count: int) -> list[NDArray[np.uint8]]:
    """Smooth pictures with an edge that moves, none like its mirror image or like another."""
    down, across = np.mgrid[:height, :width]
    shown = []
    for number in range(count):
        edge = 255 * (across > (number * width) // count)
        colours = (255 * down // height, edge, 255 * across // width)
        shown.append(np.stack(colours, axis=-1).astype(np.uint8))
    return shown


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide clip, a tall one, one that is turned, one smaller than what is kept, short ones."""
    folder = tmp_path_factory.mktemp("videos")
    sizes = {"landscape.mp4": (120, 80), "portrait.mp4": (80, 120), "tiny.mp4": (24, 18)}
    for name, num_frames in NUM_FRAMES.items():
        if name != "rotated.mp4":
            pictures = make_pictures(*sizes.get(name, (64, 48)), num_frames)
            make_video(folder / name, pictures=pictures)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    command += ["-i", str(folder / "landscape.mp4"), "-c", "copy", str(folder / "rotated.mp4")]
    subprocess.run(command, check=True)
    (folder / "text.avi").write_text("no video at all\n")
    return folder


@pytest.fixture(scope="module")
def job(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The store of a job for embeddings and three kinds of frames, and what the job said."""
    store = tmp_path_factory.mktemp("stores") / "store"
    done = run("extract", videos, "--store", store, "-e", "motion", *asked(KINDS), "--json")
    assert done.returncode == 3, done.stderr
    return store, json.loads(done.stdout)


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kinestore", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def asked(kinds: Sequence[str]) -> list[str]:
    return [word for kind in kinds for word in ("--frames", kind)]


def parts(store: Path) -> dict[str, bytes]:
    """The bytes of every part by its folder and hash; numbers may differ."""
    return {f"{p.parent.name}/{p.name.partition('-')[2]}": p.read_bytes() for p in paths(store)}


def paths(store: Path) -> list[Path]:
    return [*store.rglob("views/*/[0-9]*.parquet"), *store.rglob("frames/*/[0-9]*.h5")]


def extract_here(
    videos: Path, store: Path, takers: Mapping[str, Any], *, retry_failed: bool = False
) -> list[ShardResult]:
    """The job without Dask, and without a process of its own."""
    target = Store.create(store)
    specs: dict[str, OutputSpec] = {name: taker.spec for name, taker in takers.items()}
    inputs = identify_all(find_videos(videos).sources, target, lambda *_: None)
    return [
        extract_shard(
            target, shard, specs, lambda asked: [a for _, a in embed_clips(asked, producers=takers)]
        )
        for shard in plan(inputs, target, specs, retry_failed=retry_failed)
    ]


# Which frames, and what becomes of them


@pytest.mark.parametrize(
    ("text", "num_frames", "expected"),
    [
        ("segments:3x2@64", 30, [4, 5, 14, 15, 24, 25]),  # 29 places: (29 * (1, 3, 5)) // 6
        ("segments:2x5@64", 3, [0, 1, 2, 2, 2, 0, 1, 2, 2, 2]),  # it fits at 0 alone
        ("even:4@64", 30, [0, 10, 19, 29]),  # 29 / 3 = 9.67
        ("even:3@64", 1, [0, 0, 0]),
        ("first:4@64", 30, [0, 1, 2, 3]),
        ("first:4@64", 3, [0, 1, 2, 2]),
    ],
)
def test_the_frames_are_those_that_were_worked_out_by_hand(
    text: str, num_frames: int, expected: list[int], tmp_path: Path
) -> None:
    video = DecodedVideo(make_video(tmp_path / "v.mp4", num_frames))
    kept = taken(text).frames_of(video)
    assert kept.shape == (len(expected), 64, 64, 3) and kept.flags.c_contiguous
    assert [read_number(picture) for picture in kept] == expected


@pytest.mark.parametrize(
    ("picture", "size", "expected"),
    [
        ((412, 268), (256, 256), (393, 256)),  # 412 * 256 / 268 = 393.6, rounded down
        ((268, 412), (256, 256), (256, 393)),
        ((320, 240), (340, 256), (341, 256)),  # 341.3: wider than 340
        ((300, 240), (340, 256), (340, 272)),
        ((100, 100), (340, 256), (340, 340)),
        ((17, 17), (17, 17), (17, 17)),
    ],
)
def test_pictures_are_scaled_to_cover(
    picture: tuple[int, int], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert covering_size(picture, size=size) == expected


@pytest.mark.parametrize("picture", [(412, 268), (100, 60), (16, 12), (61, 35), (1056, 16)])
@pytest.mark.parametrize("size", [(48, 32), (32, 32)])
def test_scaling_and_cutting_is_what_pillow_does(
    picture: tuple[int, int], size: tuple[int, int]
) -> None:
    """Pillow rounds between its two passes: one level of 255 apart at the most."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2, picture[1], picture[0], 3), np.uint8)
    width, height = covering_size(picture, size=size)
    left, top = round((width - size[0]) / 2), round((height - size[1]) / 2)
    box = (left, top, left + size[0], top + size[1])
    for ours, whole in zip(resize_to_cover(rgb, size=size), rgb, strict=True):
        scaled = Image.fromarray(whole).resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(ours.astype(int) - np.asarray(scaled.crop(box))).max() <= 1


def reference(path: Path, taker: ClipFormat) -> NDArray[np.uint8]:
    """Frame by frame, from a decode of its own."""
    whole = decode_frames(path).rgb
    width, height = taker.size
    shown = []
    for index in taker.indices(len(whole)):
        picture = torch.from_numpy(whole[index]).permute(2, 0, 1)
        side = covering_size((whole.shape[2], whole.shape[1]), size=taker.size)[::-1]
        scaled = functional.resize(picture, list(side), InterpolationMode.BILINEAR, antialias=True)
        shown.append(functional.center_crop(scaled, [height, width]).permute(1, 2, 0).numpy())
    return np.stack(shown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NUM_FRAMES)
def test_what_is_kept_equals_a_plain_reference(
    name: str, kind: str, job: tuple[Path, dict[str, Any]], videos: Path
) -> None:
    store, summary = job
    kept = Store(store).frames(summary["frames"][kind])
    clip_id = next(c for s, c in clips(store).items() if Path(s).name == name)
    np.testing.assert_array_equal(kept[clip_id], reference(videos / name, taken(kind)))


def clips(store: Path) -> dict[str, str]:
    rows = Store(store).clips().to_pylist()
    return {row["uri"]: row["clip_id"] for row in rows}


def test_a_turned_clip_is_kept_upright(job: tuple[Path, dict[str, Any]]) -> None:
    kept, rows = Store(job[0]).frames("even-4-32"), clips(job[0])
    by_name = {Path(uri).name: kept[clip_id] for uri, clip_id in rows.items()}
    turned = np.rot90(by_name["landscape.mp4"], axes=(1, 2))
    assert np.abs(turned.astype(int) - by_name["rotated.mp4"]).max() <= 1
    assert np.abs(turned.astype(int) - by_name["landscape.mp4"]).max() > 100


@pytest.mark.parametrize("kept_bytes", [1, 256 << 20])
def test_frames_are_the_same_taken_in_small_lots_and_from_a_video_that_is_not_kept(
    kept_bytes: int, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, taker = videos / "rotated.mp4", taken("segments:3x5@32")
    whole = taker.frames_of(DecodedVideo(path))
    lots: list[int] = []

    class Counted(DecodedVideo):
        def rgb(self, indices: Any) -> NDArray[np.uint8]:
            lots.append(len(indices))
            return super().rgb(indices)

    monkeypatch.setattr(clip_format, "RGB_BYTES", 4 * 3 * 120 * 80)
    np.testing.assert_array_equal(taker.frames_of(Counted(path, buffer_bytes=kept_bytes)), whole)
    assert lots == [4, 4, 4, 3]


# The job


def test_the_job_tells_what_it_did(job: tuple[Path, dict[str, Any]]) -> None:
    store, summary = job
    num_clips = len(NUM_FRAMES)
    assert [summary[key] for key in ("done", "skipped", "failed")] == [num_clips, 0, 1]
    assert summary["num_frames"] == sum(NUM_FRAMES.values())  # decoded once for all four
    assert list(summary["views"]) == ["motion"] and list(summary["frames"]) == list(KINDS)
    assert summary["frames_bytes"] == num_clips * 3 * (10 * 48 * 32 + 4 * 32 * 32 + 6 * 40 * 40)
    assert {"decode", "prepare", "frames", "motion", "commit"} == summary["stage_seconds"].keys()
    assert json.loads((store / "summary.json").read_text()) == summary


def test_status_and_verify_know_the_frames(job: tuple[Path, dict[str, Any]]) -> None:
    found = status(job[0]).to_json()
    assert [view["rows"] for view in found["views"]] == [len(NUM_FRAMES)]
    assert found["frames"] == [
        {
            "kind": spec.kind,
            "fingerprint": spec.fingerprint,
            "shape": list(spec.shape),
            "clips": len(NUM_FRAMES),
            "bytes": len(NUM_FRAMES) * int(np.prod(spec.shape)),
        }
        for spec in (taken(kind).spec for kind in sorted(KINDS))
    ]
    assert verify(job[0]).findings == ()
    Store(job[0]).take_snapshot("now")
    assert len(Store(job[0], snapshot="now").frames("even-4-32")) == len(NUM_FRAMES)


def test_status_tells_of_frames_that_were_copied_to_an_object_store(bucket: str) -> None:
    store, spec = Store.create(f"{bucket}/copied"), taken("even:4@32").spec
    described = {**spec.to_json(), "fingerprint": spec.fingerprint}
    store.storage.write(f"frames/{spec.name}/frames.json", json.dumps(described))
    (found,) = status(f"{bucket}/copied").to_json()["frames"]
    assert (found["kind"], found["clips"], found["bytes"]) == ("even-4-32", None, None)
    assert store.next_number() == 0


def test_what_made_them_is_told_beside_the_frames(job: tuple[Path, dict[str, Any]]) -> None:
    spec = taken(KINDS[0]).spec
    told = json.loads((job[0] / "frames" / spec.name / "frames.json").read_text())
    assert told["settings"]["sampling"] == {"kind": "segments", "segments": 2, "length": 5}
    assert told["settings"]["size"] == [48, 32] and told["shape"] == [10, 32, 48, 3]
    assert {"av", "torch", "torchvision"} <= told["made_with"].keys()


def test_the_same_job_again_does_nothing_in_whatever_spelling(
    job: tuple[Path, dict[str, Any]], videos: Path
) -> None:
    before = parts(job[0])
    spelled = ("segments:02x5@048x32", "even:4@32x32", "even:4@32")
    again = extract(videos, store=job[0], extractors=["motion"], frames=spelled)
    assert (again.num_done, again.num_skipped, again.num_failed) == (0, len(NUM_FRAMES), 1)
    assert again.num_frames == again.frames_bytes == 0 and parts(job[0]) == before
    good = videos / "short.mp4"
    printed = run("extract", good, "--store", job[0], *asked(KINDS))
    assert printed.stdout.startswith(f"Nothing to compute: {job[0]} has all 1 clips already.")


def test_only_the_cells_that_are_missing_are_planned(
    job: tuple[Path, dict[str, Any]], videos: Path
) -> None:
    store, more = Store(job[0]), taken("even:3@16")
    specs: dict[str, OutputSpec] = {kind: taken(kind).spec for kind in KINDS}
    specs |= {"motion": extractors.create("motion").spec}
    inputs = identify_all(find_videos(videos).sources, store, lambda *_: None)
    assert plan(inputs, store, specs, retry_failed=False) == []
    shards = plan(inputs, store, specs | {more.name: more.spec}, retry_failed=False)
    wanted = [(task.outputs, task.known) for shard in shards for task in shard.clips]
    assert wanted == [((more.name,), True)] * len(NUM_FRAMES)  # and the bad one is not


def test_bytes_do_not_depend_on_who_computes_them(
    job: tuple[Path, dict[str, Any]], videos: Path, tmp_path: Path
) -> None:
    """Two workers with Dask and processes of their own, and this process."""
    takers = {"motion": extractors.create("motion"), **parse_clip_formats(KINDS)}
    receipts = extract_here(videos, tmp_path / "store", takers)
    assert parts(tmp_path / "store") == parts(job[0])
    assert sum(receipt.frames_bytes for receipt in receipts) == job[1]["frames_bytes"]


def test_one_decode_serves_embeddings_and_frames(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def decode(path: str, **choices: Any) -> DecodedVideo:
        decoded.append(Path(path).name)
        return DecodedVideo(path, **choices)

    monkeypatch.setattr(decode_and_embed, "DecodedVideo", decode)
    takers: dict[str, Any] = {"motion": extractors.create("motion"), **parse_clip_formats(KINDS)}
    requests = [ClipRequest(str(videos / name), tuple(takers)) for name in NUM_FRAMES]
    for _, answer in embed_clips(requests, producers=takers):
        assert isinstance(answer, ClipResult) and not answer.errors
        assert (*answer.embeddings, *answer.frames) == tuple(takers)
    assert sorted(decoded) == sorted(NUM_FRAMES)


class Moody:
    """Motion, but not where the clip has 30 frames."""

    batch = 1

    def __init__(self) -> None:
        self._motion = extractors.create("motion")
        self.spec = self._motion.spec

    def prepare(self, clip: DecodedVideo) -> PreparedClip:
        if clip.num_frames == 30:
            raise RuntimeError("shape mismatch")
        return self._motion.prepare(clip)

    def embed(self, batch: Sequence[PreparedClip]) -> list[Any]:
        return self._motion.embed(batch)


def test_each_kind_that_fails_has_its_row_and_a_video_that_is_none_has_one_for_all(
    videos: Path, tmp_path: Path
) -> None:
    narrow = make_video(tmp_path / "narrow.mp4", pictures=make_pictures(1056, 16, 30))
    manifest, store = tmp_path / "m.txt", tmp_path / "store"
    lines = (narrow, videos / "landscape.mp4", videos / "text.avi", videos / "tiny.mp4")
    manifest.write_text("\n".join(map(str, lines)))
    large, small = taken("first:1@1024"), taken("first:1@16")
    moody = Moody()
    takers = {"motion": moody, large.name: large, small.name: small}
    (receipt,) = extract_here(manifest, store, takers)
    assert len(receipt.done) == 1
    told = {(Path(f.uri).name, f.view): (f.stage, f.kind) for f in Store(store).failures()}
    motion, broken = moody.spec.name, ("extract", "extractor-error")
    assert told == {
        ("narrow.mp4", motion): broken,
        ("narrow.mp4", large.spec.name): broken,
        ("landscape.mp4", motion): broken,
        ("text.avi", ""): ("decode", "not-a-video"),
    }
    (message,) = (f.message for f in Store(store).failures() if f.view == large.spec.name)
    why = "pictures of 1056x16 are too narrow to be scaled so far"
    assert message == f"{narrow}: first:1@1024 failed ({why})"
    assert len(Store(store).frames(small.spec.name)) == 3
    assert extract_here(manifest, store, takers) == []  # what failed is not tried again
    motion_now = {**takers, "motion": extractors.create("motion")}
    (again,) = extract_here(manifest, store, motion_now, retry_failed=True)
    assert len(again.done) == 1 and len(Store(store).load("motion").clip_ids) == 3


def test_a_shard_holds_no_more_frames_than_memory_allows() -> None:
    assert SHARD_BYTES == 128 << 20
    clip_bytes = 40 * 256 * 256 * 3  # 7.5 MiB: 17 of them are 127.5
    assert shard_size(10_000) == shard_size(10_000, clip_bytes=clip_bytes) == 16
    assert shard_size(10**6) == 256 and shard_size(10**6, clip_bytes=clip_bytes) == 17
    assert shard_size(10_000, clip_bytes=30 << 20) == 4
    assert shard_size(10_000, clip_bytes=SHARD_BYTES + 1) == 1


def test_frames_come_whole_from_the_process_that_takes_them(videos: Path) -> None:
    """More than a socket holds, shard after shard, and when the process was killed before."""
    takers = parse_clip_formats(["even:64@256", "first:2@16"])  # 12 MiB a clip, and little
    supervisor = Supervisor(takers, timeout_s=60, num_decoders=2)
    names = ["landscape.mp4", "short.mp4", "portrait.mp4"]
    requests = [ClipRequest(str(videos / name), tuple(takers)) for name in names]
    for number in range(3):
        if number == 2:
            assert supervisor._process is not None
            supervisor._process.kill()
        for name, answer in zip(names, supervisor.embed(requests), strict=True):
            assert isinstance(answer, ClipResult) and answer.frames.keys() == takers.keys()
            for kind, frames in answer.frames.items():
                expected = takers[kind].frames_of(DecodedVideo(videos / name))
                np.testing.assert_array_equal(frames, expected)
    supervisor.close()


# What a person may ask for


@pytest.mark.parametrize(
    "text",
    [
        "segments:8@256",
        "segments:8x5",
        "segments:8x5@",
        "segments:8x5@256x",
        "segments:8x5x2@256",
        "segments: 8x5@256",
        "segments:-8x5@256",
        "segments:8x5@2.5",
        "segments:8x5@256@256",
        "even:4x2@256",
        "first:@256",
        "last:4@256",
        "even:4@٢٥٦",
        "even:4444444@256",
        "even:4@256\n",
        "",
    ],
)
def test_what_is_not_in_the_grammar_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_clip_formats([text])
    assert str(raised.value) == (
        f"frames={text!r}: must be segments:SxL@SIZE, even:T@SIZE, step:T@SIZE, first:T@SIZE, "
        "first:NofL@SIZE or pieces:PxL@SIZE, with SIZE a side in pixels or WIDTHxHEIGHT, such as "
        "segments:8x5@256"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("even:0@256", "frames='even:0@256': must be 1 to 1024 frames, and are 0"),
        ("segments:0x5@256", "must be 1 to 1024 frames, and are 0"),
        ("segments:33x32@16", "must be 1 to 1024 frames, and are 1056"),
        ("even:4@15", "frames='even:4@15': sides must have 16 to 1024 pixels"),
        ("even:4@1025x256", "sides must have 16 to 1024 pixels"),
        ("even:4@256x0", "frames='even:4@256x0': sides must have 16 to 1024 pixels"),
        ("even:86@1024", "must be 256 MiB a clip or less, and are 258; take fewer or smaller"),
    ],
)
def test_frames_out_of_bounds_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_clip_formats([text])


def test_the_largest_and_the_smallest_frames_are_within_bounds() -> None:
    assert taken("even:85@1024").spec.shape == (85, 1024, 1024, 3)
    assert taken("first:1@16").spec.shape == (1, 16, 16, 3)
    assert taken("segments:32x32@16x32").spec.shape == (1024, 32, 16, 3)


def test_two_spellings_are_one_folder_and_another_size_is_another() -> None:
    names = {text: taken(text).spec.name for text in ("even:4@32", "even:04@32x32", "even:4@32x16")}
    assert names["even:4@32"] == names["even:04@32x32"] != names["even:4@32x16"]
    assert taken("even:4@32x32").name == "even:4@32" and taken("even:4@32x16").size == (32, 16)
    assert names["even:4@32"].startswith("even-4-32@")
    assert list(parse_clip_formats(["even:4@32", "even:4@32x32"])) == ["even:4@32"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "extractors: name at least one, or frames to store"),
        ({"frames": ["even:4"]}, "frames='even:4': must be segments:SxL@SIZE"),
        (
            {"frames": ["even:4@32"], "store": "s3://bucket/store"},
            "frames are mapped, so they",
        ),
    ],
)
def test_a_wrong_request_stops_before_the_store_is_made(
    settings: dict[str, Any], message: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        extract(videos, **{"store": tmp_path / "s", **settings})
    assert not (tmp_path / "s").exists()


# What befalls a job


@pytest.mark.slow
def test_killed_at_random_moments_the_job_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """By turns the whole job, its parent alone, a worker, a process that decodes."""
    draw, videos = random.Random(0), tmp_path / "videos"
    videos.mkdir()
    for number in range(32):
        make_video(videos / f"{number:02d}.mp4", 40, first=number * 3)
    kinds = ["segments:8x5@256", "even:3@64"]
    whole, store, moments = tmp_path / "whole", tmp_path / "store", 0
    extract(videos, store=whole, extractors=["motion"], frames=kinds, workers=2)
    expected = parts(whole)
    while moments < 4:
        started = start(videos, store, kinds)
        wanted = len(paths(store)) + draw.choice([0, 1, 2, 5, 9])
        moments += kill_at(started, store, wanted, draw.random(), turn=moments)
        if started.wait(timeout=300) == 0:
            assert parts(store) == expected
            assert verify(store, repair=True).sound and not list(store.rglob(".*"))
            shutil.rmtree(store)
    extract(videos, store=store, extractors=["motion"], frames=kinds, workers=2)
    assert parts(store) == expected
    assert verify(store, repair=True).sound and not list(store.rglob(".*"))
    assert {len(Store(store).clips_with(taken(kind).spec)) for kind in kinds} == {32}


def start(videos: Path, store: Path, kinds: Sequence[str]) -> "subprocess.Popen[bytes]":
    """A job in a session of its own."""
    command = ["extract", str(videos), "--store", str(store), "-e", "motion", *asked(kinds)]
    return subprocess.Popen(
        [sys.executable, "-m", "kinestore", *command, "--workers", "2"],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_at(
    job: "subprocess.Popen[bytes]", store: Path, num_parts: int, delay_s: float, *, turn: int
) -> bool:
    """Kill something a while after there are so many parts; says whether the job was at work."""
    while len(paths(store)) < num_parts and job.poll() is None:
        time.sleep(0.05)
    time.sleep(delay_s)
    kill(job, turn)
    return job.poll() is None or job.returncode != 0


def kill(job: "subprocess.Popen[bytes]", turn: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if turn % 3 == 0:
            os.killpg(job.pid, signal.SIGKILL)
        elif turn % 3 == 1:
            psutil.Process(job.pid).kill()
        else:
            for child in psutil.Process(job.pid).children(recursive=True)[-1:]:
                child.kill()
