"""Accuracy of a head by its frames: evenly spaced frames or k-means keyframes.

    python -m benchmarks.keyframes MANIFEST [--frames 8] [--seeds 3]

Each clip's frames all go through EfficientNet-Lite0 once. A view is made of each choice of frames:
evenly spaced, k-means over luma thumbnails, k-means over the network's own features. A head (mlp)
is trained on each, leaving one group out at a time; a seed draws both the clusters' starts and the
head. Below each accuracy is the time per clip of selecting the frames.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import kinestore as ks
from kinestore.extractors import ExtractorOptions
from kinestore.extractors.cnn import LITE0, FrameCnn, build
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.identity import identify
from kinestore.pipeline.video.keyframes import luma_features, select_keyframes
from kinestore.samplers import evenly_spaced
from kinestore.store import Clip, Embedding, Store, ViewSpec

T = TypeVar("T")
Choose = Callable[[NDArray[np.float32], NDArray[np.float32], int], NDArray[np.int64]]


def choices(num_frames: int) -> dict[str, Choose]:
    """Ways from (luma features, network features, seed) to the frames of a clip."""
    return {
        "evenly spaced": lambda luma, cnn, seed: evenly_spaced(len(luma), num_frames),
        "k-means, luma": lambda luma, cnn, seed: select_keyframes(
            luma, num_keyframes=num_frames, seed=seed
        ),
        "k-means, cnn": lambda luma, cnn, seed: select_keyframes(
            cnn, num_keyframes=num_frames, seed=seed
        ),
    }


def fill(store: Store, manifest: Path, num_frames: int, seeds: int) -> dict[str, dict[str, float]]:
    """Append every view to the store; return seconds per clip by choice and stage."""
    model: FrameCnn = build(LITE0, ExtractorOptions())
    rows: dict[tuple[str, int], list[Embedding]] = {}
    seconds = {name: {"features": 0.0, "choosing": 0.0} for name in choices(num_frames)}
    clips = []
    for source in find_videos(manifest).sources:
        clip_id = identify(source.uri)
        video = DecodedVideo(source.uri)
        clips.append(Clip(clip_id=clip_id, source=source, info=video.info))
        luma_s, (_, luma) = timed(partial(luma_features, video))
        cnn_s, cnn = timed(partial(model.frame_features, video, np.arange(video.num_frames)))
        seconds["k-means, luma"]["features"] += luma_s
        seconds["k-means, cnn"]["features"] += cnn_s
        for name, choose in choices(num_frames).items():
            for seed in range(seeds):
                own_seed = (int(clip_id, 16) + seed) % 2**32
                choosing_s, chosen = timed(partial(choose, luma, cnn, own_seed))
                seconds[name]["choosing"] += choosing_s / seeds
                rows.setdefault((name, seed), []).append(
                    Embedding(vector=cnn[chosen], frame_index=chosen, pts_s=video.pts_s[chosen])
                )
    store.append_clips(clips)
    for (name, seed), embeddings in rows.items():
        shape = embeddings[0].vector.shape
        spec = ViewSpec(extractor=view(name, seed), shape=shape, settings={"seed": seed})
        store.append(spec, [clip.clip_id for clip in clips], embeddings)
    return {
        name: {stage: total / len(clips) for stage, total in stages.items()}
        for name, stages in seconds.items()
    }


def timed(do: Callable[[], T]) -> tuple[float, T]:
    """Seconds and the answer."""
    started = time.perf_counter()
    answer = do()
    return time.perf_counter() - started, answer


def view(name: str, seed: int) -> str:
    """The name of the view of a choice."""
    return f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    table = Table("frames", "top-1 by seed", "mean", "features, s/clip", "choosing, s/clip")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store")
        seconds = fill(store, args.manifest, args.frames, args.seeds)
        for name in choices(args.frames):
            top1 = [
                ks.train(
                    store.load(view(name, seed)),
                    out=Path(folder) / "run",
                    evaluation=ks.EvaluationConfig(cv="group"),
                    seed=seed,
                ).top1
                for seed in range(args.seeds)
            ]
            table.add_row(
                name,
                " ".join(f"{value:.3f}" for value in top1),
                f"{np.mean(top1):.3f}",
                *(f"{value:.3f}" for value in seconds[name].values()),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
