"""Memory for a very long video: all that an extraction does with it, in one process.

    python -m benchmarks.memory [--hours 2]

The video is 1920x1080 at 25 frames/s, H.264, a few pictures repeated. The requests are eight
k-means keyframes and 64 evenly spaced frames as RGB, more RGB than there is memory, and the
`motion` descriptors of forty pairs. Loading torch alone takes 0.8 GiB, so that comes last.
"""

import argparse
import contextlib
import importlib
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.keyframes import choose_keyframes
from kinestore.store import UsageError
from tests.helpers.numbered import make_video, repeat_packets

GOP = 50


def make_long_video(folder: Path, seconds: float) -> None:
    """A bright bar that wanders over a dark picture, again and again."""
    pictures = []
    for index in range(GOP):
        picture = np.full((1080, 1920, 3), 30, np.uint8)
        picture[:, index * 32 : index * 32 + 200] = 220
        pictures.append(picture)
    options = {"preset": "ultrafast", "crf": "30"}
    path = make_video(folder / "short.mp4", pictures=pictures, gop_size=GOP, options=options)
    repeat_packets(path, times=max(1, round(seconds * 25 / GOP)))


def peak_mib() -> int:
    """Return the peak memory of this process in MiB, as Linux reports it.

    (`ru_maxrss` would count the memory of the parent process.)
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def say(what: str, started: float) -> None:
    print(f"{what:42} {time.perf_counter() - started:8.1f} s   peak {peak_mib():5} MiB", flush=True)


def measure_everything(path: Path) -> None:
    """Do what extraction does with a video, and print time and memory."""
    started = time.perf_counter()
    video = DecodedVideo(path)
    say(f"decoded {video.num_frames} frames", started)
    chosen = choose_keyframes(video, num_keyframes=8, seed=0)
    say("eight keyframes chosen", started)
    video.rgb(chosen)
    say("keyframes as RGB", started)
    video.rgb(np.linspace(0, video.num_frames - 1, 64).astype(int))
    say("64 evenly spaced frames as RGB", started)
    with contextlib.suppress(UsageError):
        video.rgb(np.arange(video.num_frames))
    say("every frame as RGB: refused", started)
    motion = importlib.import_module("kinestore.extractors").create("motion")
    say("torch and the extractors loaded", started)
    motion.embed([motion.prepare(video)])
    say("motion descriptors", started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments = Path(folder), 3600 * args.hours
        maker = get_context("spawn").Process(target=make_long_video, args=arguments)
        maker.start()  # in another process, so that its memory does not count
        maker.join()
        measure_everything(Path(folder) / "repeated.mkv")


if __name__ == "__main__":
    main()
