"""Train a classifier on a folder of videos, and draw them; the subfolders are the classes.

Run it as `python examples/own_videos.py VIDEOS`.
"""

import sys

import kinestore as ks


def main(videos: str) -> None:
    ks.extract(videos, store="mystore", extractors=["cnn-efficientnet-lite0", "motion"])
    store = ks.Store("mystore")
    clips = store.load(["cnn-efficientnet-lite0", "motion"])
    run = ks.train(clips, out="run", evaluation=ks.EvaluationConfig(folds=5))
    print("top-1 over five folds:", run.top1)
    print("map:", ks.umap(clips, store=store, run="run", out="umap.html").path)


if __name__ == "__main__":
    main(sys.argv[1])
