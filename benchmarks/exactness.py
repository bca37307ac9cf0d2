"""Frames that each library returns, compared with those of ffmpeg, which reads the file in order.

    python -m benchmarks.exactness [FOLDER] [--details]

FOLDER holds real clips (../shared/data by default, if it is there); odd clips are generated.
Of each clip, eight evenly spaced frames are requested, and then the same eight backwards. A
returned picture is taken for the reference frame that is nearest to it (mean absolute difference
in RGB, every third pixel both ways), so another way of converting colors does no harm, nor does
a picture that lies on its side; it counts as right if no other frame is clearly nearer. Each
library runs in a process of its own.
"""

import argparse
import importlib
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks.clips import FFMPEG, existing_path, find_videos
from benchmarks.isolated_process import Isolated, LibraryFailed, left_out, versions
from benchmarks.odd_clips import generate

Picture = NDArray[np.uint8]
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
NUM_REQUESTED = 8
PIXEL_STEP = 3
TIE = 0.05
"""Levels of 255 by which another frame may be nearer before the requested one counts as wrong."""


def ours(path: str, indices: list[int]) -> Iterable[Picture]:
    from kinestore.pipeline.video.decoded_video import decode_frames

    return decode_frames(path, indices).rgb


def decord_sparse(path: str, indices: list[int]) -> Iterable[Picture]:
    decord = importlib.import_module("decord")
    batch: Picture = decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()
    return batch


def decord_in_order(path: str, indices: list[int]) -> Iterable[Picture]:
    decord = importlib.import_module("decord")
    reader = decord.VideoReader(path, num_threads=1)
    pictures: list[Picture] = []
    with suppress(StopIteration):
        while True:
            pictures.append(reader.next().asnumpy())
    return [pictures[index] for index in indices]


def torchcodec_sparse(path: str, indices: list[int], *, seek_mode: str) -> Iterable[Picture]:
    decoders = importlib.import_module("torchcodec.decoders")
    reader = decoders.VideoDecoder(
        path, num_ffmpeg_threads=1, seek_mode=seek_mode, dimension_order="NHWC"
    )
    batch: Picture = reader.get_frames_at(indices).data.numpy()
    return batch


def opencv_seek(path: str, indices: list[int]) -> Iterable[Picture]:
    cv2: Any = importlib.import_module("cv2")
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        found, picture = capture.read()
        if not found:
            raise RuntimeError(f"read() found no frame {index}")
        yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


LIBRARIES: dict[str, Callable[[str, list[int]], Iterable[Picture]]] = {
    "ours": ours,
    "decord get_batch": decord_sparse,
    "decord next()": decord_in_order,
    "torchcodec exact": partial(torchcodec_sparse, seek_mode="exact"),
    "torchcodec approximate": partial(torchcodec_sparse, seek_mode="approximate"),
    "OpenCV seek": opencv_seek,
}


@dataclass(kw_only=True)
class Score:
    """Result of one library on one group of clips.

    Attributes:
        clips: Clips that were tried.
        wrong_clips: Clips of which any returned frame was not the requested one.
        answered: Frames that were returned.
        wrong: Frames among them that were not the requested ones.
        errors: Requests that ended in an exception, a crash or a hang.
        details: A line for each clip with a wrong answer.
    """

    clips: int = 0
    wrong_clips: int = 0
    answered: int = 0
    wrong: int = 0
    errors: int = 0
    details: list[str] = field(default_factory=list)


def answer(library: str, path: str, reference: str, indices: list[int]) -> list[int]:
    """The reference frames that a library returned for these requests."""
    frames = np.load(reference)
    pictures = LIBRARIES[library](path, indices)
    return [_nearest(p, frames, index) for index, p in zip(indices, pictures, strict=True)]


def _nearest(picture: Picture, frames: Picture, requested: int) -> int:
    """Index of that one of the frames of shape (T, H, W, 3) which a picture is."""
    turns = [np.rot90(picture, turn)[::PIXEL_STEP, ::PIXEL_STEP] for turn in range(4)]
    likely = [turn for turn in turns if turn.shape == frames.shape[1:]]
    if not likely:
        raise ValueError(f"a picture of shape {picture.shape}")
    gaps = [np.abs(frames - turn.astype(np.int16)).mean((1, 2, 3)) for turn in likely]
    gap = min(gaps, key=lambda of_turn: float(of_turn.min()))
    return requested if gap[requested] <= gap.min() + TIE else int(gap.argmin())


def read_reference(path: Path) -> Picture:
    """Every frame that ffmpeg decodes in order, every third pixel both ways: (T, H, W, 3)."""
    command = [FFMPEG, "-v", "quiet", "-i", str(path), "-an", "-fps_mode", "passthrough"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
    ppm = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).stdout
    head = b"\n".join(ppm.split(b"\n", 3)[:3]) + b"\n"
    width, height = (int(word) for word in head.split()[1:3])
    frames = np.frombuffer(ppm, np.uint8).reshape(-1, len(head) + width * height * 3)
    pictures = frames[:, len(head) :].reshape(-1, height, width, 3)
    return np.ascontiguousarray(pictures[:, ::PIXEL_STEP, ::PIXEL_STEP])


def group_of(path: Path) -> str:
    """The data set that a real clip comes from, by the way it names its clips."""
    if path.name.startswith("v_"):
        return "UCF101"
    if any("ut_interaction" in part for part in path.parts):
        return "UT-Interaction"
    return "HMDB51" if path.suffix == ".avi" else "Kinetics"


def score_clip(score: Score, worker: Isolated, library: str, path: Path, reference: Path) -> None:
    num_frames = len(np.load(reference, mmap_mode="r"))
    requested = (
        np.linspace(0, num_frames - 1, min(NUM_REQUESTED, num_frames)).round().astype(int).tolist()
    )
    wrong_before = score.wrong
    for indices in (requested, requested[::-1]):
        try:
            got = worker.call(library, str(path), str(reference), indices)
        except LibraryFailed as failure:
            score.errors += 1
            score.details.append(f"{path.name}: {library}: requested {indices}: {failure}")
            continue
        score.answered += len(got)
        score.wrong += sum(a != b for a, b in zip(indices, got, strict=True))
        if got != indices:
            score.details.append(f"{path.name}: {library}: requested {indices}, got {got}")
    score.clips += 1
    score.wrong_clips += score.wrong > wrong_before


def markdown(scores: dict[tuple[str, str], Score], groups: list[str], names: list[str]) -> str:
    lines = ["| clips | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for group in groups:
        cells = []
        for score in (scores[group, name] for name in names):
            cell = f"{score.wrong_clips} / {score.clips}; {score.wrong} / {score.answered}"
            cells.append(f"{cell}; {score.errors} failed" if score.errors else cell)
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which frames do libraries really return?")
    parser.add_argument("folder", nargs="?", type=existing_path, default=SHARED_DATA)
    parser.add_argument("--details", action="store_true", help="a line for each wrong answer")
    options = parser.parse_args()
    missing = left_out(("decord", "torchcodec"))
    print(versions(), *missing.values(), sep="\n")
    names = [name for name in LIBRARIES if name.split()[0] not in missing]
    workers = {name: Isolated(answer, timeout_s=60) for name in names}
    scores: dict[tuple[str, str], Score] = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.npy"
        clips = [(group_of(path), path) for path in find_videos(options.folder)]
        clips += generate(Path(folder)).items()
        for group, path in track(clips, console=Console(stderr=True), description="Comparing"):
            np.save(reference, read_reference(path))
            for name in names:
                score = scores.setdefault((group, name), Score())
                score_clip(score, workers[name], name, path, reference)
    print("Clips with a wrong frame / clips; wrong frames / frames returned; failed requests.\n")
    print(markdown(scores, list(dict.fromkeys(group for group, _ in clips)), names))
    if options.details:
        print("\n" + "\n".join(line for score in scores.values() for line in score.details))


if __name__ == "__main__":
    main()
