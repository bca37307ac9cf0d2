"""Share of Grad-CAM peaks that lie on a moving dot, by layer and frame size.

    python -m benchmarks.grad_cam [--seeds 0 1 2] [--sizes 64 128 224]

`tests.helpers.gradcam_learning` describes the clips, the training and the scores. Seconds are CPU
time of one training and its evaluation.
"""

import argparse
import time

from tests.helpers.gradcam_learning import NUM_CLIPS, locate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="*", default=list(NUM_CLIPS), help="pixels")
    options = parser.parse_args()
    print("| size | seed | top-1 | chance | layer | inside | resized | s |")
    print("|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        for seed in options.seeds:
            start = time.process_time()
            scores = locate(train(size, seed=seed), size, seed=seed)
            seconds = f"{time.process_time() - start:.0f}"
            for name, inside in scores.inside.items():
                chance = f"{scores.by_chance:.2f}"
                row = [size, seed, scores.top1, chance, name, inside, scores.resized[name], seconds]
                print(f"| {' | '.join(map(str, row))} |")
            print(end="", flush=True)


if __name__ == "__main__":
    main()
