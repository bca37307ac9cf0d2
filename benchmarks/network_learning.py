"""Accuracy of the differential network on clips whose classes differ only by motion, by setting.

    python -m benchmarks.network_learning [--seeds 3]

`tests.helpers.motion_learning` describes the clips, the training and the scores. Seconds are CPU
time of one training and its evaluation.
"""

import argparse
import time

from tests.helpers.motion_learning import CASES, learn

COLUMNS = ("top1", "sense", "axis")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default 3)")
    options = parser.parse_args()
    print("| network | clips | top-1 | sense | axis | s |", "|---|---|---|---|---|---|", sep="\n")
    for case in CASES:
        start = time.process_time()
        rows = [learn(case, seed=seed) for seed in range(options.seeds)]
        seconds = (time.process_time() - start) / options.seeds
        scores = [", ".join(f"{getattr(row, name):.3f}" for row in rows) for name in COLUMNS]
        print(
            f"| {' | '.join([case.name, str(case.num_clips), *scores, f'{seconds:.0f}'])} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
