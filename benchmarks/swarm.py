"""Cost of the meetings of a swarm, at the size of the paper: four particles of 79 million weights.

    python -m benchmarks.swarm [--network cnn_transformer:trunk=densenet201] [--clips 9537]

Measures a meeting (distances, updates, and all positions written to disk) on networks with random
weights; the time of a training step on made clips, once of the whole network on frames and once of
its head on cached vectors, scaled to an epoch of all particles; and the peak memory of a meeting.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import kinestore as ks
from benchmarks.memory import peak_mib
from kinestore import heads
from kinestore.heads import FeatureSamples
from kinestore.heads.support.device import choose_device
from kinestore.heads.training.loop import Training
from kinestore.heads.training.processes import Processes
from kinestore.pipeline.training.model_spec import read_choice
from kinestore.pipeline.training.swarm.dynamics import Swarm, TensorsInMemory
from kinestore.pipeline.training.swarm.meeting import meet
from kinestore.pipeline.training.swarm.position_files import PositionFiles

CONFIG = ks.SwarmConfig(dynamic=2)
BATCH = 8


def measure_meeting(models: Sequence[nn.Module], folder: Path) -> dict[str, float]:
    """Return the seconds of a meeting's parts, and its peak memory in sets of weights."""
    files = PositionFiles(folder, 0)
    tensors = [dict(model.named_parameters()) for model in models]
    sizes = {name: tensor.numel() for name, tensor in tensors[0].items()}
    starts = [files.write("x", n, 0, m.state_dict()) for n, m in enumerate(models, start=1)]
    with torch.no_grad():
        for model in models:
            for parameter in model.parameters():
                parameter.add_(1e-3 * torch.randn_like(parameter))
    set_mib = sum(sizes.values()) * 4 / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    started = time.perf_counter()
    bests = [files.write("best", n, 1, m.state_dict()) for n, m in enumerate(models, start=1)]
    written = time.perf_counter()
    swarm = Swarm(
        starts=[files.open(name) for name in starts],
        after=[TensorsInMemory(each) for each in tensors],
        bests=[files.open(name) for name in bests],
        fitness=[0.1, 0.4, 0.3, 0.2],
        rates=[1e-2, 1e-3, 1e-4, 1e-3],
    )
    meet(swarm, sizes, config=CONFIG, r=0.5)
    met = time.perf_counter()
    for number, model in enumerate(models, start=1):
        files.write("x", number, 1, model.state_dict())
    ended = time.perf_counter()
    files.remove()
    return {
        "distances and updates": met - written,
        "best positions written": written - started,
        "positions written": ended - met,
        "sets": peak_mib() / set_mib,
    }


def epoch_seconds(model: nn.Module, features: Tensor, *, clips: int, device: torch.device) -> float:
    """Return the seconds of an epoch of one particle, from the steps of a few batches."""
    labels = torch.arange(len(features)) % 101
    samples = FeatureSamples(features=features, labels=labels)
    training = Training(
        model,
        samples,
        config=replace(ks.SWARM_TRAINING, learning_rate=1e-4, batch_size=BATCH),
        seed=0,
        processes=Processes(rank=0, count=1, device=device),
    )
    rows = np.arange(len(features))
    training.epoch(1, rows[:BATCH])
    seconds = timed(lambda: training.epoch(2, rows))
    model.zero_grad(set_to_none=True)
    return seconds / len(features) * clips


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="cnn_transformer:trunk=densenet201")
    parser.add_argument(
        "--clips", type=int, default=9537, help="training clips of UCF101's split 1"
    )
    parser.add_argument("--batches", type=int, default=3, help="batches whose steps are timed")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = choose_device(args.device)
    name, settings = read_choice(args.network, heads.settings_of)
    models = [heads.create(name, seed=n, num_classes=101, **settings).to(device) for n in range(4)]
    count = sum(p.numel() for p in models[0].parameters())
    print(f"{args.network}: {count:,} parameters, 4 particles, {args.clips} clips, {device}")
    with tempfile.TemporaryDirectory() as folder:
        found = measure_meeting(models, Path(folder))
    sets = found.pop("sets")
    cost = sum(found.values())
    for part, seconds in found.items():
        print(f"{part:28} {seconds:8.2f} s")
    print(f"peak memory of the process in a meeting: {sets:.1f} sets of weights")
    clips = torch.randn(args.batches * BATCH, 4, 3, 224, 224)
    whole = 4 * epoch_seconds(models[0], clips, clips=args.clips, device=device)
    print(f"an epoch of all, on frames:  {whole:10.0f} s; meetings are {cost / whole:.2%}")
    vectors = torch.randn(args.batches * BATCH, 4, models[0].trunk.width)  # type: ignore[union-attr, arg-type]
    head = models[0].head
    assert isinstance(head, nn.Module)
    cached = 4 * epoch_seconds(head, vectors, clips=args.clips, device=device)
    print(f"an epoch of all, on vectors: {cached:10.0f} s; meetings are {cost / cached:.2%}")


if __name__ == "__main__":
    main()
