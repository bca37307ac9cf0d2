"""Times, and warnings, of every frame, against ffmpeg's.

    python -m benchmarks.video_times [FOLDER]

FOLDER holds real clips (../shared/data by default); odd clips are generated. Of AVI, ffmpeg's times
include the decoder's delay, which ours do not: they are compared from the first frame on.
"""

import argparse
import re
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import FFMPEG, existing_path, find_videos
from benchmarks.exactness import SHARED_DATA
from benchmarks.odd_clips import generate
from kinestore.pipeline.video.decoded_video import DecodedVideo

_BASE = re.compile(r"showinfo.*config in time_base: (\S+),")
_FRAME = re.compile(r"showinfo.* n: *\d+ pts: *(-?\d+) ")


def times_by_ffmpeg(path: Path) -> NDArray[np.float64]:
    """Time of each frame in seconds, float64, shape (T,), without a shift of the start to 0."""
    command = [FFMPEG, "-copyts", "-noautorotate", "-i", str(path), "-an", "-vf", "showinfo"]
    command += ["-fps_mode", "passthrough", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    report = done.stderr.decode(errors="replace")
    base = Fraction(_BASE.findall(report)[0])
    return np.array([float(int(pts) * base) for pts in _FRAME.findall(report)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Are the times of frames those of ffmpeg?")
    parser.add_argument("folder", nargs="?", type=existing_path, default=SHARED_DATA)
    with tempfile.TemporaryDirectory() as folder:
        real = find_videos(parser.parse_args().folder)
        odd = generate(Path(folder))
        gaps, num_frames, warned = [], 0, []
        for path in [*real, *odd.values()]:
            video, expected = DecodedVideo(path), times_by_ffmpeg(path)
            start = expected[0] - video.pts_s[0] if path.suffix == ".avi" else 0.0
            same = len(expected) == video.num_frames
            gaps.append(np.abs(expected - start - video.pts_s).max() if same else np.inf)
            num_frames += video.num_frames
            if gaps[-1] > 1e-6:
                print(f"{path.name}: differs by {gaps[-1]:g} s")
            if video.info.warning:
                warned.append(path)
                print(f"{path.name}: {video.info.warning}")
    print(
        f"{len(real)} real and {len(odd)} generated clips, {num_frames} frames: largest difference "
        f"{1e6 * max(gaps):.3f} microseconds; warnings: {len(set(warned) & set(real))} real, "
        f"{len(set(warned) - set(real))} generated"
    )


if __name__ == "__main__":
    main()
