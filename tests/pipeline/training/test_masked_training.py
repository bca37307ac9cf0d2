"""Masks go from the store through training and prediction to the head."""

from pathlib import Path

import numpy as np
import pytest

import kinestore as ks
from kinestore.heads import TrainingConfig
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.training.config import EvaluationConfig, FederationConfig
from kinestore.store import MASKED, Embedding, Store, UsageError, ViewSpec
from tests.helpers.stored import clip

SPEC = ViewSpec(extractor="steps", shape=(4, 6), settings=MASKED)
HEADS = [
    "temporal_transformer:heads=2,dense=8,feed_forward=4",
    "temporal_actionclip:layers=1",
    "temporal_rnn:units=6,dense=8",
    "temporal_rnn:cell=lstm,units=6,dense=8,bidirectional=true",
]


def masked_store(folder: Path, *, garbage: float) -> Store:
    """Sixteen clips of two classes; every other one has steps without a frame."""
    store, rng = Store.create(folder), np.random.default_rng(0)
    names = [f"{number:02d}" for number in range(16)]
    marks = ["test" if number % 4 == 3 else "train" for number in range(16)]
    store.append_clips(
        [
            clip(n, label="ab"[i // 8], split=m)
            for i, (n, m) in enumerate(zip(names, marks, strict=True))
        ]
    )
    rows = []
    for number in range(16):
        mask = np.arange(4) < (4 if number % 2 else 1 + number % 3)
        vector = rng.standard_normal((4, 6)).astype(np.float32) + number // 8
        vector[~mask] = garbage
        rows.append(
            Embedding(vector=vector, frame_index=np.arange(4), pts_s=np.arange(4) / 25, mask=mask)
        )
    store.append(SPEC, names, rows)
    return store


@pytest.mark.parametrize("head", HEADS)
def test_garbage_without_a_frame_changes_no_bit_of_a_run(head: str, tmp_path: Path) -> None:
    for name, garbage in (("clean", 0.0), ("dirty", 1e6)):
        features = masked_store(tmp_path / name, garbage=garbage).load("steps:sequence")
        config = TrainingConfig(epochs=3, batch_size=4, learning_rate=0.01)
        ks.train(features, out=tmp_path / f"run-{name}", head=head, training=config)
    clean, dirty = ((tmp_path / f"run-{name}") for name in ("clean", "dirty"))
    for file in ("model.safetensors", "metrics.csv"):
        assert (clean / file).read_bytes() == (dirty / file).read_bytes()
    said, model = read_predictions(clean), ks.load_model(clean)
    features = Store(tmp_path / "dirty").load("steps:sequence")
    rows = np.array([features.clip_ids.index(one) for one in said.clip_ids])
    assert model.predict(features.select(rows)) == said.predicted


def test_a_mask_counts_in_training(tmp_path: Path) -> None:
    features = masked_store(tmp_path / "store", garbage=0.0).load("steps:sequence")
    config = TrainingConfig(epochs=2, batch_size=4)
    for name, mask in (("with", features.mask), ("without", None)):
        given = ks.Features(**{**vars(features), "mask": mask})
        ks.train(given, out=tmp_path / name, head=HEADS[0], training=config)
    assert (tmp_path / "with/metrics.csv").read_bytes() != (
        tmp_path / "without/metrics.csv"
    ).read_bytes()


def test_masks_reach_the_clients_of_federated_training(tmp_path: Path) -> None:
    for name, garbage in (("clean", 0.0), ("dirty", -1e6)):
        features = masked_store(tmp_path / name, garbage=garbage).load("steps:sequence")
        ks.federate(
            features,
            out=tmp_path / f"run-{name}",
            head=HEADS[0],
            federation=FederationConfig(num_clients=2, rounds=2),
            training=TrainingConfig(epochs=1, batch_size=4),
        )
    models = [
        (tmp_path / f"run-{name}/model.safetensors").read_bytes() for name in ("clean", "dirty")
    ]
    assert models[0] == models[1]


def test_a_clip_with_every_step_masked_is_refused_by_name(tmp_path: Path) -> None:
    features = masked_store(tmp_path / "store", garbage=0.0).load("steps:sequence")
    assert features.mask is not None
    features.mask[3] = False
    with pytest.raises(UsageError, match=r"/videos/03\.avi: every step of its sequence is masked"):
        ks.train(features, out=tmp_path / "run", head=HEADS[1], evaluation=EvaluationConfig())
    assert not (tmp_path / "run").exists()


def test_extraction_training_and_prediction_with_masks(tmp_path: Path) -> None:
    from tests.helpers.numbered import make_video

    for number in range(8):
        folder = tmp_path / "videos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        make_video(folder / f"{number}.mp4", 5 + 3 * number, first=number)
    store = tmp_path / "s"
    named = "cnn-efficientnet-lite0:sampling=first:4of20"
    assert ks.extract(tmp_path / "videos", store=store, extractors=[named], workers=1).num_done == 8
    features = Store(store).load("cnn-efficientnet-lite0:sequence")
    assert features.mask is not None
    told = zip(features.uris, features.mask, strict=True)
    num_steps = {Path(uri).stem: int(mask.sum()) for uri, mask in told}
    # Rows 0, 5, 10, 15 of clips with 5, 8, ..., 26 frames
    assert [num_steps[str(number)] for number in range(8)] == [1, 2, 3, 3, 4, 4, 4, 4]
    ks.train(features, out=tmp_path / "run", head=HEADS[1], training=TrainingConfig(epochs=1))
    assert len(ks.load_model(tmp_path / "run").predict(Store(store))) == 8
