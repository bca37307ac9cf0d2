"""A store of made-up embeddings that tell three classes apart."""

from pathlib import Path

import numpy as np

from kinestore.store import Store, ViewSpec
from tests.helpers.stored import clip


def embedded_store(
    folder: Path, *, num_clips: int = 45, code: int = 1, first: int = 0, classes: str = "abc"
) -> Store:
    """Clips in five groups with views "vector" (6,), "other" (4,) and "sequence" (5, 3).

    Args:
        folder: Of the store.
        num_clips: Their number.
        code: Changes the fingerprints of the views.
        first: Number of the first clip: other numbers are other clips.
        classes: Name of each class, a letter each.
    """
    store = Store.create(folder)
    numbers = range(first, first + num_clips)
    labels = [number % len(classes) for number in numbers]
    names = [f"{number:032x}" for number in numbers]
    pairs = zip(numbers, names, labels, strict=True)
    store.append_clips(
        [clip(name, label=classes[label], group=f"g{n // 3 % 5}") for n, name, label in pairs]
    )
    rng = np.random.default_rng(first)
    for extractor, shape in {"vector": (6,), "other": (4,), "sequence": (5, 3)}.items():
        values = rng.normal(size=(num_clips, *shape)).astype(np.float32)
        values[..., :3] += 2 * np.eye(4, 3, dtype=np.float32)[labels].reshape(
            num_clips, *(1,) * (len(shape) - 1), 3
        )
        spec = ViewSpec(extractor=extractor, shape=shape, settings={"code": code})
        store.append(spec, names, values)
    return store
