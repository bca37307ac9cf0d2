"""Cost of extraction: this project's job, a DataLoader script and a plain loop.

    python -m benchmarks.extract [VIDEOS] [--extractors r3d,slow] [--clips 128] [--workers 2]
    python -m benchmarks.extract --device cuda --synthetic 2000

Without VIDEOS, clips of five seconds are generated (`--size 320 240`), as many as `--synthetic`
says. All contenders run the same networks with the same random weights on the same evenly spaced
frames, shrunk alike, in processes of their own: in float32 on a CPU, in bfloat16 on a GPU, where
BLIP with Slow and then all five networks of FLAMeST are measured by default.

- `kinestore`: the job as a user starts it, with a store, a failure log and provenance.
- `DataLoader`: a well-tuned script: worker processes decode and shrink ahead (one on a CPU, whose
  cores the networks need; one a core beside a GPU), the main process runs batches (4 clips, 16 on a
  GPU), channels last, copied from pinned memory. With several extractors it runs once for each, as
  such scripts do.
- `loop`: clip by clip, extractor by extractor, decoding each time, on all cores.

Each is timed from its start to its last result, on all clips and on a quarter of them: the rate is
the difference in clips over the difference in seconds, which leaves out the start-up time (a
column of its own). They take turns, `--repeats` times; seconds are medians.
The ceiling on a CPU is cores / (seconds of decoding + seconds of all forward passes) of a clip on
one thread, since both use the same cores; with a GPU it is the lower of cores / seconds of decoding
and 1 / seconds of all forward passes on the GPU. The peak is that of matrix products.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks._baselines import run_dataloader, run_loop, write_weights
from benchmarks.clips import existing_path, find_videos, write_clip
from benchmarks.flops import flops_of, gpu_peak_flops, peak_flops

CONTENDERS = ("kinestore", "DataLoader", "loop")
SETS = {"cpu": ["r3d"], "cuda": ["blip,slow", "blip,slow,i3d,r3d,videomae"]}
"""Measured by default."""

MEASURED_CLIPS = 16
"""For the seconds by stage."""

DRAWN_CLIPS = 32
"""Clips that are drawn and encoded; of more than these, the others are the same pictures again, as
files of their own bytes."""

LOOK_EVERY_S = 0.2


def make_clips(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Clips of five seconds; no two files are the same."""

    def draw(number: int) -> Path:
        return write_clip(
            folder / f"{number:05d}.mp4",
            ["-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{8 * size[0] * size[1]}"],
            size=size,
            filters=f"hue=h={number * 7}",
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = list(pool.map(draw, range(min(count, DRAWN_CLIPS))))
    for number in range(len(drawn), count):
        free_box = struct.pack(">I4sI", 12, b"free", number)  # players skip it
        again = folder / f"{number:05d}.mp4"
        again.write_bytes(drawn[number % DRAWN_CLIPS].read_bytes() + free_box)
        drawn.append(again)
    return drawn


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work of every contender.

    Attributes:
        clips: Files.
        weights: A file or folder for each extractor.
        device: "cpu" or "cuda".
        workers: Cores.
    """

    clips: Sequence[str]
    weights: dict[str, str]
    device: str
    workers: int


def run_kinestore(work: Work) -> None:
    from kinestore.extractors import FrameChoice
    from kinestore.pipeline.extraction.config import ExtractionConfig
    from kinestore.pipeline.extraction.extract_videos import extract

    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "clips.txt"
        manifest.write_text("\n".join(work.clips) + "\n")
        extract(
            manifest,
            store=Path(folder) / "store",
            extractors=list(work.weights),
            workers=work.workers if work.device == "cpu" else 1,
            config=ExtractionConfig(
                weights=work.weights,
                frame_choice=FrameChoice(kind="uniform"),
                device=work.device,
            ),
        )


RUN = {"kinestore": run_kinestore, "DataLoader": run_dataloader, "loop": run_loop}


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Cost of a clip in each stage.

    Attributes:
        seconds: Of decoding on one thread, and of each extractor's forward pass on the device (a
            CPU's on one thread).
        num_frames: Of a clip, on average.
        flops: Of all forward passes of a clip.
        peak: Of the device, a second.
    """

    seconds: dict[str, float]
    num_frames: float
    flops: float
    peak: float

    def ceiling(self, work: Work) -> float:
        """Clips a second that no job can exceed on this machine."""
        forward = sum(self.seconds.values()) - self.seconds["decode"]
        if work.device == "cpu":
            return work.workers / (self.seconds["decode"] + forward)
        return min(work.workers / self.seconds["decode"], 1 / forward)


def stages_of(work: Work) -> Stages:
    """Measured in a process of its own, with the settings that hold for a worker."""
    from kinestore.pipeline.extraction.supervisor import CHILD_ENVIRONMENT

    command = [sys.executable, "-m", "benchmarks.extract", "--stages", json.dumps(vars(work))]
    environment = {**os.environ, **CHILD_ENVIRONMENT}
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    return Stages(**json.loads(printed))


def measure_stages(work: Work) -> Stages:
    """Return the result of `stages_of`."""
    import torch

    from kinestore.extractors import FrameChoice, create
    from kinestore.pipeline.video.decoded_video import DecodedVideo

    torch.set_num_threads(work.workers)
    peak = gpu_peak_flops() if work.device == "cuda" else peak_flops()
    torch.set_num_threads(1)
    frames = FrameChoice(kind="uniform")
    models = {
        name: create(name, weights=path, device=work.device, frame_choice=frames)
        for name, path in work.weights.items()
    }
    for _ in range(2):  # the first time warms up
        seconds, num_frames, prepared = dict.fromkeys(["decode", *models], 0.0), 0, []
        for clip in work.clips:
            at = time.perf_counter()
            video = DecodedVideo(clip)
            prepared.append({name: model.prepare(video) for name, model in models.items()})
            seconds["decode"] += time.perf_counter() - at
            num_frames += video.num_frames
        for name, model in models.items():
            at = time.perf_counter()
            model.embed([clip[name] for clip in prepared])
            seconds[name] += time.perf_counter() - at
    count = len(work.clips)
    flops = 0
    for name, model in models.items():
        few = [clip[name] for clip in prepared[: model.batch]]
        flops += flops_of(functools.partial(model.embed, few)) // model.batch
    return Stages(
        seconds={stage: spent / count for stage, spent in seconds.items()},
        num_frames=num_frames / count,
        flops=flops,
        peak=peak,
    )


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Time and memory of a contender.

    Attributes:
        seconds: From start to end.
        peak: Most bytes of the whole tree of processes.
        gpu_busy: In how many percent of the time the GPU worked; None without one.
    """

    seconds: float
    peak: int
    gpu_busy: float | None


def timed(contender: str, work: Work) -> Timed:
    """Run it, with several extractors as often as it takes, in processes of their own."""
    together = [work.weights]
    if contender == "DataLoader":
        together = [{name: path} for name, path in work.weights.items()]
    seconds, peak = 0.0, 0
    with gpu_busy(work.device) as busy:
        for some in together:
            task = {"contender": contender, "work": {**vars(work), "weights": some}}
            command = [sys.executable, "-m", "benchmarks.extract", "--task", json.dumps(task)]
            started = time.perf_counter()
            with subprocess.Popen(command) as child:
                watched = psutil.Process(child.pid)
                while child.poll() is None:
                    peak = max(peak, resident(watched))
                    time.sleep(LOOK_EVERY_S)
            if child.returncode:
                raise SystemExit(f"{contender} ended with {child.returncode}")
            seconds += time.perf_counter() - started
    return Timed(seconds=seconds, peak=peak, gpu_busy=statistics.mean(busy) if busy else None)


@contextmanager
def gpu_busy(device: str) -> Iterator[list[float]]:
    """Collect, while the block runs, in how many percent of the time the GPU worked."""
    seen: list[float] = []
    command = shutil.which("nvidia-smi")
    if device == "cpu" or command is None:
        yield seen
        return
    query = [
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "-i",
        "0",
        "-lms",
        "200",
    ]
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen([command, *query], stdout=output) as watcher:
            yield seen
            watcher.terminate()
        output.seek(0)
        seen += [float(line) for line in output if line.strip().isdigit()]


def resident(process: psutil.Process) -> int:
    """Bytes of a process and its children; memory that they share counts once for each."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="?", type=existing_path)
    parser.add_argument("--extractors", nargs="+", help="names with commas, a table for each set")
    parser.add_argument("--device", choices=sorted(SETS), default="cpu")
    parser.add_argument("--clips", type=int, help="of VIDEOS, or to generate (default 128)")
    parser.add_argument("--synthetic", type=int, dest="clips", help="clips to generate")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240), help="of generated clips")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="cores")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--stages", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stages is not None:
        print(json.dumps(vars(measure_stages(Work(**given.stages)))))
        return
    if given.task is not None:
        RUN[given.task["contender"]](Work(**given.task["work"]))
        return
    count = given.clips or 128
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = (
            find_videos(given.videos)
            if given.videos
            else make_clips(folder, count, tuple(given.size))
        )
        clips = [str(clip.resolve()) for clip in found[:count]]
        for number, extractors in enumerate(given.extractors or SETS[given.device]):
            (folder / str(number)).mkdir()
            weights = write_weights(folder / str(number), extractors.split(","))
            work = Work(clips=clips, weights=weights, device=given.device, workers=given.workers)
            compare(work, given.repeats)


def compare(work: Work, repeats: int) -> None:
    """Measure everything and print it."""
    stages = stages_of(replace(work, clips=work.clips[:MEASURED_CLIPS]))
    ceiling = stages.ceiling(work)
    names = ("clips/s", "share of ceiling", "frames/s", "start, s", "peak, MiB", "of flop peak")
    title = f"{len(work.clips)} clips, {' + '.join(work.weights)}, {work.workers} cores"
    table = Table("", *names, "GPU busy", title=f"{title}, {work.device}")

    def row(rate: float, *more: str) -> list[str]:
        figures = f"{rate:.3f}", f"{rate / ceiling:.2f}", f"{rate * stages.num_frames:.0f}"
        return [*figures, *more, f"{rate * stages.flops / stages.peak:.2f}"]

    few = replace(work, clips=work.clips[: max(1, len(work.clips) // 4)])
    turns = [
        (contender, timed(contender, few), timed(contender, work))
        for _ in range(repeats)
        for contender in CONTENDERS
    ]
    for contender in CONTENDERS:
        runs = [(short, whole) for name, short, whole in turns if name == contender]
        short_s, whole_s = (
            statistics.median(r.seconds for r in of) for of in zip(*runs, strict=True)
        )
        rate = (len(work.clips) - len(few.clips)) / (whole_s - short_s)
        start = f"{whole_s - len(work.clips) / rate:.1f}"
        peak = max(whole.peak for _, whole in runs)
        busy = [whole.gpu_busy for _, whole in runs if whole.gpu_busy is not None]
        busy_share = f"{statistics.median(busy):.0f}%" if busy else "-"
        table.add_row(contender, *row(rate, start, f"{peak / 2**20:.0f}"), busy_share)
    table.add_row("ceiling", *row(ceiling, "", ""))
    spent = ", ".join(f"{stage} {seconds:.4f}" for stage, seconds in stages.seconds.items())
    Console(width=120).print(
        table,
        f"seconds of a clip: {spent}; {stages.flops / 1e9:.1f} GFLOP a clip; "
        f"peak {stages.peak / 1e9:.0f} GFLOP/s",
    )


if __name__ == "__main__":
    main()
