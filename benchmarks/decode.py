"""Decoding speed: this project, the bare decoder and other libraries.

    python -m benchmarks.decode [VIDEO_OR_FOLDER ...] [--rounds 5] [--frames 300] [--one-core]

Four clips are generated (MPEG-4 with B-frames in AVI and H.264 in MP4, at 320x240 with 0.6 Mbit/s
and at 1280x720 with 4 Mbit/s); videos on the command line are measured too. Each contender runs in
its own process, is called once to warm up, and is then timed inside that process, in turn with the
others; the result is the median of the rounds. Every decoder is set to one thread. decord and the
ffmpeg command keep helper threads even so; `--one-core` pins each contender to a single core.
ffmpeg is timed by its own clock (-benchmark), which leaves out that its process has to start.
"""

import argparse
import importlib
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.clips import FFMPEG, existing_path, find_videos, mpeg4_encoder, write_clip
from benchmarks.isolated_process import Isolated, LibraryFailed, left_out, versions

RESIZED = (224, 224)
THUMBNAIL = (32, 24)


def decode_bare(path: str) -> None:
    import av

    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass


def decode_ffmpeg(path: str) -> float:
    command = [FFMPEG, "-v", "info", "-benchmark", "-threads", "1", "-filter_threads", "1"]
    command += ["-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    return float(re.findall(r"rtime=([\d.]+)s", done.stderr)[-1])


def ours_thumbnails(path: str) -> None:
    from kinestore.pipeline.video.decoded_video import DecodedVideo
    from kinestore.pipeline.video.keyframes import luma_features

    _one_thread_cv2()
    luma_features(DecodedVideo(path))


def ours_rgb(path: str) -> None:
    from kinestore.pipeline.video.decoded_video import decode_frames

    decode_frames(path)


def pyav_rgb(path: str) -> None:
    import av
    from av.video.reformatter import VideoReformatter

    converter = VideoReformatter()  # without it, PyAV 17 and 18 set one up for every frame
    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            converter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def decord_rgb_resized(path: str) -> None:
    cv2 = _one_thread_cv2()
    for picture in _decord_pictures(path):
        cv2.resize(picture.asnumpy(), RESIZED)


def decord_rgb(path: str) -> None:
    for picture in _decord_pictures(path):
        picture.asnumpy()


def decord_scaled_inside(path: str) -> None:
    for picture in _decord_pictures(path, width=RESIZED[0], height=RESIZED[1]):
        picture.asnumpy()


def decord_thumbnails(path: str) -> None:
    for picture in _decord_pictures(path, width=THUMBNAIL[0], height=THUMBNAIL[1]):
        picture.asnumpy()


def torchcodec_rgb(path: str) -> None:
    importlib.import_module("torch").set_num_threads(1)
    decoders = importlib.import_module("torchcodec.decoders")
    reader = decoders.VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate")
    with suppress(RuntimeError):  # headers of packed AVIs claim a frame that never comes
        for start in range(0, len(reader), 64):
            reader.get_frames_in_range(start, min(start + 64, len(reader)))


def opencv_rgb_resized(path: str) -> None:
    cv2 = _one_thread_cv2()
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while True:
        found, picture = capture.read()
        if not found:
            return
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), RESIZED)


def _one_thread_cv2() -> Any:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    return cv2


def _decord_pictures(path: str, **size: int) -> Any:
    decord = importlib.import_module("decord")
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1, **size)
    with suppress(StopIteration):
        while True:
            yield reader.next()


BARE, OURS, FIELD = "PyAV, decoding alone", "ours: thumbnails", "decord: RGB + resize"
CONTENDERS: dict[str, Callable[[str], float | None]] = {
    BARE: decode_bare,
    "ffmpeg -f null": decode_ffmpeg,
    OURS: ours_thumbnails,
    "decord: thumbnails": decord_thumbnails,
    FIELD: decord_rgb_resized,
    "decord: RGB at 224x224": decord_scaled_inside,
    "OpenCV: RGB + resize": opencv_rgb_resized,
    "ours: RGB": ours_rgb,
    "PyAV: RGB": pyav_rgb,
    "decord: RGB": decord_rgb,
    "torchcodec: RGB": torchcodec_rgb,
}
Found = dict[str, float | LibraryFailed]
BARS = ((BARE, 0.6), (FIELD, 1.25))
"""What `OURS` has to reach, as a multiple of another contender's frames per second."""


def time_once(contender: str, path: str) -> float:
    """Seconds for one read of the whole video: a contender's own clock, or else ours."""
    start = time.perf_counter()
    own_clock = CONTENDERS[contender](path)
    return time.perf_counter() - start if own_clock is None else own_clock


def count_frames(path: str) -> int:
    from kinestore.pipeline.video.decoded_video import iter_frames

    return sum(1 for _ in iter_frames(path))


def measure(path: Path, workers: dict[str, Isolated], *, rounds: int) -> Found:
    """Median seconds of each contender on one video, or how it failed."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    failures: Found = {}
    for _ in range(1 + rounds):
        for name in [n for n in workers if n not in failures]:
            try:
                seconds[name].append(workers[name].call(name, str(path)))
            except LibraryFailed as failure:
                failures[name] = failure
    return {name: failures.get(name) or statistics.median(seconds[name][1:]) for name in workers}


def generate(folder: Path, num_frames: int) -> list[Path]:
    avi = [*mpeg4_encoder(), "-bf", "2", "-g", "250"]
    mp4 = ["-c:v", "libx264", "-preset", "medium"]
    made = []
    for size, bits in (((320, 240), "600k"), ((1280, 720), "4M")):
        for encoder, suffix in ((avi, "avi"), (mp4, "mp4")):
            path = folder / f"generated-{size[0]}x{size[1]}.{suffix}"
            made.append(
                write_clip(path, [*encoder, "-b:v", bits], size=size, num_frames=num_frames)
            )
    return made


def add_rows(table: Table, path: Path, num_frames: int, found: Found) -> None:
    def ratio(seconds: float, other: str) -> str:
        base = found.get(other)
        return f"{base / seconds:.2f}" if isinstance(base, float) else "-"

    table.add_section()
    for row, (name, seconds) in enumerate(found.items()):
        file = f"{path.name} ({num_frames})" if row == 0 else ""
        if isinstance(seconds, LibraryFailed):
            table.add_row(file, name, "failed", "-", "-")
        else:
            rate = f"{num_frames / seconds:,.0f}"
            table.add_row(file, name, rate, ratio(seconds, BARE), ratio(seconds, FIELD))


def print_bars(console: Console, path: Path, found: Found) -> None:
    for other, bar in BARS:
        ours, theirs = found.get(OURS), found.get(other)
        if isinstance(ours, float) and isinstance(theirs, float):
            verdict = "met" if theirs / ours >= bar else "MISSED"
            console.print(f"{path.name}: {theirs / ours:.3f} x {other} (bar {bar}): {verdict}")
    for name, failure in found.items():
        if isinstance(failure, LibraryFailed):
            console.print(f"{path.name}: {name} failed: {failure}", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode speed beside other libraries.")
    parser.add_argument("videos", nargs="*", type=existing_path, help="videos, or folders of them")
    parser.add_argument("--rounds", type=int, default=5, help="timed reads of each (default 5)")
    parser.add_argument("--frames", type=int, default=300, help="of a generated clip")
    parser.add_argument("--one-core", action="store_true", help="pin each contender to one core")
    options = parser.parse_args()
    console = Console(width=110, highlight=False)
    missing = left_out(("decord", "torchcodec"))
    console.print(versions(), *missing.values(), sep="\n", markup=False)
    workers = {
        name: Isolated(time_once, timeout_s=120, one_core=options.one_core)
        for name in CONTENDERS
        if name.split(":")[0] not in missing
    }
    table = Table("file (frames)", "contender", title=f"Medians of {options.rounds} rounds")
    for column in ("frames/s", "to PyAV alone", "to decord + resize"):
        table.add_column(column, justify="right")
    everything = {}
    with tempfile.TemporaryDirectory() as folder:
        named = [video for path in options.videos for video in find_videos(path)]
        for path in [*generate(Path(folder), options.frames), *named]:
            everything[path] = measure(path, workers, rounds=options.rounds)
            add_rows(table, path, count_frames(str(path)), everything[path])
    console.print(table)
    for path, found in everything.items():
        print_bars(console, path, found)


if __name__ == "__main__":
    main()
