"""The clips that several features have in common, and those of some classes."""

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.store import Features, Store, UsageError


def common_clips(features: Sequence[Features]) -> tuple[list[Features], int]:
    """Select the clips that every feature has, in the order of the first.

    Args:
        features: One or more.

    Returns:
        Each with the shared rows alone, and the number of clips left out: those that one of
        the features has, or was loaded without, but not all have.

    Raises:
        UsageError: If they share no clip.
    """
    known = {clip for one in features for clip in (*one.clip_ids, *one.missing)}
    if len(features) == 1:
        return list(features), len(known) - len(set(features[0].clip_ids))
    rows = [{clip: row for row, clip in enumerate(one.clip_ids)} for one in features]
    shared = [clip for clip in rows[0] if all(clip in row for row in rows)]
    if not shared:
        named = "; ".join(" + ".join(one.views) for one in features)
        raise UsageError(f"features: no clip has all of {named}")
    selected = [
        one.select(np.array([row[clip] for clip in shared], dtype=np.int64))
        for one, row in zip(features, rows, strict=True)
    ]
    return selected, len(known) - len(shared)


def rows_of_classes(features: Features, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of the rows that have one of some classes.

    Raises:
        UsageError: If a class is unknown.
    """
    for name in classes:
        if name not in features.classes:
            close = difflib.get_close_matches(name, features.classes, n=3) or features.classes[:5]
            few = ", ".join(close) if close else "none: no clip has a label"
            raise UsageError(f"classes={name!r}: no such class; the nearest are {few}")
    kept = [features.classes.index(name) for name in classes]
    return np.flatnonzero(np.isin(features.labels, kept))


def named_classes(store: Store, given: Sequence[str]) -> list[str]:
    """Return the labels that the user gave on the command line.

    Args:
        store: Store with the labels.
        given: Each a label, or several with commas between them where there is no such label.
    """
    known = set(store.clips().column("label").to_pylist())
    named = (([one] if one in known else one.split(",")) for one in given)
    return [label for some in named for label in some]
