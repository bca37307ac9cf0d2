"""What extraction costs: this project's job beside a DataLoader script and a plain loop.

    python -m benchmarks.extract [VIDEOS] [--extractors r3d,slow] [--clips 128] [--workers 2]

Without VIDEOS, clips of five seconds are generated (`--size 320 240`). All contenders run the same
networks with the same random weights on the same evenly spaced frames, shrunk alike, in float32 on
the CPU, in processes of their own.

- `kinestore`: the job as a person starts it, with a store, a ledger and provenance.
- `DataLoader`: a well-tuned script: a worker process decodes and shrinks ahead, the main process
  runs batches of four clips, channels last, on all cores. With several extractors it runs once for
  each, as such scripts do.
- `loop`: clip by clip, extractor by extractor, decoding each time, on all cores.

Each is timed from its start to its last result, on all clips and on a quarter of them: the rate is
the difference in clips over the difference in seconds, which leaves out the start, told
beside it. The ceiling is cores / (seconds of decoding + seconds of all forward passes) of a clip on
one thread: on a CPU both want the same cores.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.clips import existing_path, find_videos, write_clip

CONTENDERS = ("kinestore", "DataLoader", "loop")
BATCH = 4
MEASURED_CLIPS = 16
"""For the seconds by stage."""
LOOK_EVERY_S = 0.2


def make_weights(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Random weights of the true architectures, one file for each."""
    import torch

    torch.manual_seed(0)
    paths = {}
    for name in names:
        network = plain(name).build(400)
        paths[name] = str(folder / f"{name}.pth")
        torch.save(network.state_dict(), paths[name])
    return paths


def plain(name: str) -> Any:
    """A library's network as a script would run it, in the form of `VideoNetwork`."""
    if name == "clip":
        return plain_clip()
    if name.startswith("cnn-"):
        return plain_cnn(name)
    return importlib.import_module(f"extractors.{name}").NETWORK


def plain_clip() -> Any:
    from extractors import clip

    def build(num_classes: int) -> Any:
        return transformers.CLIPModel(transformers.CLIPConfig())

    def features(network: Any, pictures_BCTHW: Any) -> Any:
        return network.get_image_features(pictures_BCTHW[:, :, 0]).pooler_output

    import transformers

    return SimpleNamespace(
        build=build, load=clip.load, features=features, num_frames=1, pictures=clip.PICTURES
    )


def plain_cnn(name: str) -> Any:
    from extractors import cnn

    def build(num_classes: int) -> Any:
        return timm.create_model(cnn.TIMM_NAMES[name])

    def load(path: Path) -> Any:
        network = build(1000)
        network.load_state_dict(torch.load(path, weights_only=True))
        network.reset_classifier(0)
        return network.eval()

    def features(network: Any, pictures_BCTHW: Any) -> Any:
        frames = pictures_BCTHW.transpose(1, 2).flatten(0, 1)
        return network(frames.contiguous(memory_format=torch.channels_last))

    import timm
    import torch

    pictures = cnn.PICTURES.get(name) or cnn._published_pictures(build(1000))
    return SimpleNamespace(
        build=build, load=load, features=features, num_frames=cnn.NUM_FRAMES, pictures=pictures
    )


def make_clips(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Clips of five seconds, each with pictures of its own."""
    return [
        write_clip(
            folder / f"{number:03d}.mp4",
            ["-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{8 * size[0] * size[1]}"],
            size=size,
            filters=f"hue=h={number * 7}",
        )
        for number in range(count)
    ]


def run_kinestore(clips: list[str], weights: dict[str, str], workers: int) -> None:
    from extractors import FrameChoice
    from pipeline.extract import extract

    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "clips.txt"
        manifest.write_text("\n".join(clips) + "\n")
        extract(
            manifest,
            store=Path(folder) / "store",
            extractors=list(weights),
            weights=weights,
            frames=FrameChoice(kind="uniform"),
            workers=workers,
            device="cpu",
        )


class Shrunk:
    """A data set of clips, decoded by PyAV and shrunk as the network wants it."""

    def __init__(self, clips: list[str], network: Any) -> None:
        self._clips = clips
        self._network = network

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, at: int) -> Any:
        import av
        import numpy as np

        with av.open(self._clips[at]) as container:
            frames = list(container.decode(video=0))
        chosen = np.linspace(0, len(frames) - 1, self._network.num_frames).round().astype(int)
        rgb = np.stack([frames[index].to_ndarray(format="rgb24") for index in chosen])
        return self._network.pictures.shrink(rgb)


def run_dataloader(clips: list[str], weights: dict[str, str], workers: int) -> None:
    import torch
    from torch.utils.data import DataLoader

    from extractors._video import VideoNetwork

    (name,) = weights
    network = plain(name)
    model = network.load(Path(weights[name]))
    if isinstance(network, VideoNetwork):
        model = model.to(memory_format=torch.channels_last_3d)
    torch.set_num_threads(workers)
    loader = DataLoader(Shrunk(clips, network), batch_size=BATCH, num_workers=1)
    for pixels in loader:
        forward(network, model, pixels)


def run_loop(clips: list[str], weights: dict[str, str], workers: int) -> None:
    import torch

    networks = {name: plain(name) for name in weights}
    models = {name: networks[name].load(Path(path)) for name, path in weights.items()}
    for clip in clips:
        for name, network in networks.items():
            pixels = torch.from_numpy(Shrunk([clip], network)[0])[None]
            forward(network, models[name], pixels)


def forward(network: Any, model: Any, pixels_BTCHW: Any) -> Any:
    import torch

    with torch.inference_mode():
        clips_BCTHW = network.pictures.normalise(pixels_BTCHW).transpose(1, 2)
        return network.features(model, clips_BCTHW).numpy()


def stage_seconds(clips: list[str], weights: dict[str, str]) -> tuple[dict[str, float], int]:
    """Seconds of a clip by stage, on one thread that a worker's settings hold for; and frames."""
    from pipeline.cluster import BEFORE_SPAWN

    task = json.dumps({"clips": clips, "weights": weights})
    command = [sys.executable, "-m", "benchmarks.extract", "--stages", task]
    environment = {**os.environ, **BEFORE_SPAWN}
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    seconds, num_frames = json.loads(printed)
    return seconds, num_frames


def measure_stages(clips: list[str], weights: dict[str, str]) -> tuple[dict[str, float], int]:
    """What `stage_seconds` gives, in a process of its own."""
    import torch

    from extractors import FrameChoice, create
    from pipeline.decode import DecodedVideo

    torch.set_num_threads(1)
    seconds, num_frames = {"decode": 0.0, **dict.fromkeys(weights, 0.0)}, 0
    frames = FrameChoice(kind="uniform")
    models = {n: create(n, weights=p, device="cpu", frames=frames) for n, p in weights.items()}
    for _ in range(2):  # the first time warms up
        seconds, num_frames, prepared = dict.fromkeys(seconds, 0.0), 0, []
        for clip in clips:
            at = time.perf_counter()
            video = DecodedVideo(clip)
            prepared.append({name: model.prepare(video) for name, model in models.items()})
            seconds["decode"] += time.perf_counter() - at
            num_frames += video.num_frames
        for name, model in models.items():
            at = time.perf_counter()
            model.embed([clip[name] for clip in prepared])
            seconds[name] += time.perf_counter() - at
    return {stage: spent / len(clips) for stage, spent in seconds.items()}, num_frames


def timed(
    contender: str, clips: list[str], weights: dict[str, str], workers: int
) -> tuple[float, int]:
    """Seconds from start to end, and peak bytes of the whole tree of processes."""
    together = [weights]
    if contender == "DataLoader":
        together = [{name: path} for name, path in weights.items()]
    seconds, peak = 0.0, 0
    for some in together:
        task = {"contender": contender, "clips": clips, "weights": some, "workers": workers}
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
    return seconds, peak


def resident(process: psutil.Process) -> int:
    """Bytes of a process and its children; memory that they share counts once for each."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run_task(task: dict[str, Any]) -> None:
    """What a child process does."""
    run = {"kinestore": run_kinestore, "DataLoader": run_dataloader, "loop": run_loop}
    run[task["contender"]](task["clips"], task["weights"], task["workers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="?", type=existing_path)
    parser.add_argument("--extractors", default="r3d")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240), help="of generated clips")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--stages", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stages is not None:
        print(json.dumps(measure_stages(**given.stages)))
        return
    if given.task is not None:
        run_task(given.task)
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = make_weights(Path(folder), given.extractors.split(","))
        found = (
            find_videos(given.videos)
            if given.videos
            else make_clips(Path(folder), given.clips, tuple(given.size))
        )
        compare([str(clip.resolve()) for clip in found[: given.clips]], weights, given.workers)


def compare(clips: list[str], weights: dict[str, str], workers: int) -> None:
    """Measure everything and print it."""
    some = clips[:MEASURED_CLIPS]
    spent, num_frames = stage_seconds(some, weights)
    ceiling = workers / sum(spent.values())
    stages = ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in spent.items())
    names = ("clips/s", "share of ceiling", "frames/s", "start, s", "peak, MiB")
    table = Table("", *names, title=f"{len(clips)} clips, {' + '.join(weights)}, {workers} cores")
    few = clips[: max(1, len(clips) // 4)]
    for contender in CONTENDERS:
        short, _ = timed(contender, few, weights, workers)
        whole, peak = timed(contender, clips, weights, workers)
        rate = (len(clips) - len(few)) / (whole - short)
        figures = f"{rate:.3f}", f"{rate / ceiling:.2f}", f"{rate * num_frames / len(some):.0f}"
        start = f"{whole - len(clips) / rate:.1f}"
        table.add_row(contender, *figures, start, f"{peak / 2**20:.0f}")
    table.add_row("ceiling", f"{ceiling:.3f}", "1.00", f"{ceiling * num_frames / len(some):.0f}")
    Console(width=110).print(table, f"seconds of a clip on one thread: {stages}")


if __name__ == "__main__":
    main()
