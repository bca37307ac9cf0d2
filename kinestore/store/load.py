"""Loading features for training: filters, the join of views, and labels.

Shape legend: N clips, T frames, D features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store import schema
from kinestore.store.errors import UsageError
from kinestore.store.features import Features
from kinestore.store.filters import Filter, describe_filters, select_rows
from kinestore.store.io.storage import Storage
from kinestore.store.join import Column, sequence_mask
from kinestore.store.join_cache import load_rows
from kinestore.store.part_folder import PartFolder
from kinestore.store.pooling import split_feature
from kinestore.store.records import several_labels
from kinestore.store.views import View

_KNOWN = ("clip_id", "uri", "label", "group", "split")
_LABELS = "labels"
"""Column with several labels of a clip, as a JSON list."""


def read_sources(clips: PartFolder) -> list[Mapping[str, Any]]:
    """Return the rows of `Store.sources` from the folder of the clips."""
    table = clips.read(schema.CLIPS)
    table = table.drop_columns([name for name in schema.CLIPS.names if name not in _KNOWN])
    rows = table.to_pylist()
    newest = {row["uri"]: number for number, row in enumerate(rows)}
    return [rows[number] for number in sorted(newest.values())]


def load_features(
    storage: Storage,
    view: Callable[[str], View],
    sources: Sequence[Mapping[str, Any]],
    features: Sequence[str],
    *,
    filters: Mapping[str, Filter],
    dtype: str,
) -> Features:
    """Join views by clip, and pool sequences, into one array; see `Store.load`.

    Args:
        storage: The store's.
        view: Returns the view of a name.
        sources: Rows as from `Store.sources`.
        features: Views as `VIEW` or `VIEW:POOL`.
        filters: Allowed values, by column of the sources.
        dtype: "float32" or "float16".
    """
    if not features:
        raise UsageError("features: name at least one view")
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype={dtype!r}: must be 'float32' or 'float16'")
    wanted = ", ".join(features)
    rows = {row["clip_id"]: row for row in sources}
    rows = select_rows(rows, filters, wanted=wanted)
    pools = [split_feature(feature) for feature in features]
    columns = [Column(view=view(name), pool=pool) for name, pool in pools]
    complete, values = load_rows(storage, columns, rows, dtype=dtype)
    if not complete:
        filtered = describe_filters(filters)
        raise UsageError(f"{storage.address}: no clip{filtered} has all of {wanted}")
    described = describe_clips(
        values,
        complete,
        rows=rows,
        views=[column.view.name for column in columns],
        widths=[column.shape[-1] for column in columns],
        pools=[column.pool if len(column.view.spec.shape) == 2 else "" for column in columns],
    )
    settings = {column.view.name: column.view.spec.settings for column in columns}
    prompts = {name: list(some["prompts"]) for name, some in settings.items() if "prompts" in some}
    return replace(described, mask=sequence_mask(complete, columns), prompts=prompts)


def describe_clips(
    values: NDArray[np.floating],
    clip_ids: Sequence[str],
    *,
    rows: Mapping[str, Mapping[str, Any]],
    views: Sequence[str],
    widths: Sequence[int],
    pools: Sequence[str] = (),
) -> Features:
    """Give each row of values its label, group, split and uri.

    Args:
        values: Shape (N, D) or (N, T, D).
        clip_ids: Clip of each row.
        rows: As from `Store.sources`, by clip_id; clips without a row of values are `missing`.
        views: Views that the values come from.
        widths: Number of features of each view.
        pools: Pooling of each view, "" for none; may be left out where there is none at all.
    """
    kept = [rows[clip] for clip in clip_ids]
    sets = [several_labels(row.get(_LABELS)) for row in kept]
    own = dict.fromkeys(name for row in kept for name in row if name not in (*_KNOWN, _LABELS))
    single = {row["label"] for row in kept if row["label"] is not None}
    classes = sorted(single.union(*sets))
    number = {label: index for index, label in enumerate(classes)}
    return Features(
        features=values,
        labels=np.array([number.get(row["label"], -1) for row in kept], dtype=np.int64),
        clip_ids=list(clip_ids),
        groups=[row["group"] for row in kept],
        splits=[row["split"] for row in kept],
        uris=[row["uri"] for row in kept],
        classes=classes,
        views=list(views),
        missing=sorted(set(rows).difference(clip_ids)),
        widths=list(widths),
        pools=list(pools),
        label_sets=sets if any(sets) else [],
        own_columns={name: [row.get(name) or None for row in kept] for name in own},
    )
