"""Arrow schemas of store format 1, and conversions between records and tables.

Shape legend: N rows, T frames, D features.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinestore.store.errors import StoreError, UsageError, advise
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import first_not_finite, read_json
from kinestore.store.records import Clip, Embedding, Failure, FramesSpec, ViewSpec

SPEC_FILES = {"views": "view.json", "frames": "frames.json"}
"""By kind of folder, the file with the specification of its rows."""

CLIPS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("num_frames", pa.int64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("rotation", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("warning", pa.string()),
    ]
)

FAILURES = pa.schema(
    [
        pa.field(f.name, pa.int32() if f.name == "attempt" else pa.string(), nullable=False)
        for f in fields(Failure)
    ]
)

_AnySpec = TypeVar("_AnySpec", ViewSpec, FramesSpec)

_FIELDS: dict[type, tuple[str, dict[str, type]]] = {
    ViewSpec: ("view", {"extractor": str, "shape": list, "dtype": str, "settings": dict}),
    FramesSpec: ("frames", {"kind": str, "shape": list, "settings": dict}),
}


def spec_folder(spec: ViewSpec | FramesSpec) -> str:
    """Return the folder of a specification's parts within the store."""
    return f"{'views' if isinstance(spec, ViewSpec) else 'frames'}/{spec.name}"


def spec_file(folder: str) -> str:
    """Return the name of the file that describes a folder of parts."""
    return f"{folder}/{SPEC_FILES[folder.partition('/')[0]]}"


def write_spec(
    storage: Storage, spec: ViewSpec | FramesSpec, *, made_with: Mapping[str, str] | None
) -> str:
    """Describe the folder of a specification, unless it is described; return the file's name.

    Args:
        storage: The store's.
        spec: A view or frames.
        made_with: Versions of the software, to note in the file.
    """
    name = spec_file(spec_folder(spec))
    if storage.kind(name) is None:
        described = {"fingerprint": spec.fingerprint, **spec.to_json()}
        described["made_with"] = dict(made_with or {})
        storage.write_once(name, json.dumps(described, indent=2, sort_keys=True) + "\n")
    return name


def read_spec(storage: Storage, folder: str, spec_type: type[_AnySpec]) -> _AnySpec:
    """Read the specification in a folder's `view.json` or `frames.json`.

    Raises:
        StoreError: If it is none, or not the one that the folder is named after.
    """
    file = spec_file(folder)
    marker = storage.address_of(file)
    what, kinds = _FIELDS[spec_type]
    remedy = f"`kinestore verify {storage.address} --repair` will delete the {what}"
    try:
        described = read_json(storage, file)
    except FileNotFoundError as error:
        raise StoreError(f"{marker}: is gone; put it back from a copy, or {remedy}") from error
    except StoreError as error:
        raise StoreError(advise(error, f"put it back from a copy, or {remedy}")) from error
    for name, kind in kinds.items():
        if not isinstance(described.get(name), kind):
            raise StoreError(f"{marker}: {name!r} is not a {kind.__name__}; {remedy}")
    if not all(type(size) is int for size in described["shape"]):
        raise StoreError(f"{marker}: 'shape' is not a list of whole numbers; {remedy}")
    try:
        shape = tuple(described["shape"])
        spec = spec_type(**{**{name: described[name] for name in kinds}, "shape": shape})
        name = spec.name
    except (UsageError, RecursionError) as error:
        raise StoreError(f"{marker}: {error}; {remedy}") from error
    if name != folder.rpartition("/")[2]:
        raise StoreError(
            f"{marker}: describes {name}, not the folder that it lies in; put the right one "
            f"back from a copy, or {remedy}"
        )
    return spec


def view_schema(spec: ViewSpec) -> pa.Schema:
    """Return a view's schema: vectors are fixed-size lists, sequences fixed-shape tensors.

    Only a view of masked sequences has the column `mask`.
    """
    value = pa.float32() if spec.dtype == "float32" else pa.float16()
    if len(spec.shape) == 1:
        embedding: pa.DataType = pa.list_(value, spec.shape[0])
    else:
        embedding = pa.fixed_shape_tensor(value, spec.shape)
    columns = [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("embedding", embedding, nullable=False),
        pa.field("frame_index", pa.list_(pa.int64()), nullable=False),
        pa.field("pts_s", pa.list_(pa.float64()), nullable=False),
        pa.field("caption", pa.string()),
    ]
    if spec.masked:
        columns.append(pa.field("mask", pa.list_(pa.bool_(), spec.shape[0]), nullable=False))
    return pa.schema(columns)


def clips_to_table(clips: Sequence[Clip]) -> pa.Table:
    """Return one row per source; columns of the user's own follow the store's, as text."""
    extra = sorted({name for clip in clips for name in clip.source.extra})
    if taken := [name for name in extra if name in CLIPS.names]:
        raise UsageError(
            f"column {taken[0]!r} of the manifest: the store keeps that name for itself; rename it"
        )
    rows = [
        {
            "clip_id": clip.clip_id,
            "uri": clip.source.uri,
            "label": clip.source.label,
            "group": clip.source.group,
            "split": clip.source.split,
            **{name: getattr(clip.info, name) for name in CLIPS.names[5:12]},
            "bytes": clip.info.size_bytes,
            "warning": clip.info.warning,
            **clip.source.extra,
        }
        for clip in clips
    ]
    schema = CLIPS
    for name in extra:
        schema = schema.append(pa.field(name, pa.string()))
    return pa.Table.from_pylist(rows, schema=schema)


def failures_to_table(failures: Sequence[Failure]) -> pa.Table:
    """Return one row per failure."""
    return pa.Table.from_pylist([asdict(failure) for failure in failures], schema=FAILURES)


def embeddings_to_table(
    spec: ViewSpec, clip_ids: Sequence[str], embeddings: Sequence[Embedding] | NDArray[np.floating]
) -> pa.Table:
    """Return one row per clip, checked against the specification.

    Args:
        spec: The view's.
        clip_ids: Clip of each row.
        embeddings: Embedding of each row; or their vectors alone, shape (N, *spec.shape).

    Raises:
        UsageError: If a vector or mask has another shape, or a value that is not finite, or if a
            clip comes twice.
    """
    refuse_repeated("embedding", clip_ids)
    if not len(clip_ids) or len(clip_ids) != len(embeddings):
        raise UsageError(f"embeddings: {len(embeddings)} of them for {len(clip_ids)} clips")
    notes: Sequence[Embedding] = [] if isinstance(embeddings, np.ndarray) else embeddings
    vectors = embeddings if isinstance(embeddings, np.ndarray) else [e.vector for e in embeddings]
    for clip_id, vector in zip(clip_ids, vectors, strict=True):
        if vector.shape != spec.shape:
            raise UsageError(
                f"embedding of clip {clip_id}: shape {vector.shape} is not the {spec.shape} of "
                f"view {spec.name}"
            )
    with np.errstate(over="ignore"):  # what float16 does not hold becomes infinite
        kept = np.ascontiguousarray(vectors, dtype=spec.dtype)
    if (bad_row := first_not_finite(kept)) is not None:
        raise UsageError(f"embedding of clip {clip_ids[bad_row]}: has values that are not finite")
    schema = view_schema(spec)
    column = pa.FixedSizeListArray.from_arrays(pa.array(kept.reshape(-1)), math.prod(spec.shape))
    if isinstance(schema.field("embedding").type, pa.FixedShapeTensorType):
        column = pa.ExtensionArray.from_storage(schema.field("embedding").type, column)
    none: list[list[int]] = [[]] * (len(clip_ids) - len(notes))
    arrays = [
        pa.array(list(clip_ids), pa.string()),
        column,
        pa.array([e.frame_index for e in notes] or none, pa.list_(pa.int64())),
        pa.array([e.pts_s for e in notes] or none, pa.list_(pa.float64())),
        pa.array([e.caption for e in notes] or [None] * len(clip_ids), pa.string()),
    ]
    masks = _masks(spec, clip_ids, notes)
    if spec.masked:
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(masks.ravel()), spec.shape[0]))
    return pa.Table.from_arrays(arrays, schema=schema)


def _masks(
    spec: ViewSpec, clip_ids: Sequence[str], embeddings: Sequence[Embedding]
) -> NDArray[np.bool_]:
    """Return the mask of each row, bool, shape (N, T); all True where none is given."""
    masks = np.ones((len(clip_ids), spec.shape[0]), np.bool_)
    for row, embedding in enumerate(embeddings):
        if (mask := embedding.mask) is None:
            continue
        wrong = mask.dtype != np.bool_ or mask.shape != spec.shape[:1]
        if wrong or not spec.masked or not mask.any():
            allowed = (
                f"bool of shape {spec.shape[:1]}, True at least once" if spec.masked else "None"
            )
            raise UsageError(
                f"mask of clip {clip_ids[row]}: {mask.dtype} of shape {mask.shape} with "
                f"{np.count_nonzero(mask)} steps, must be {allowed} in view {spec.name}"
            )
        masks[row] = mask
    return masks


def mask_array(table: pa.Table, spec: ViewSpec) -> NDArray[np.bool_]:
    """Return the masks of a part's rows: bool, shape (N, T); a missing value is False."""
    column = table.column("mask").combine_chunks()
    flat = column.flatten().fill_null(False).to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.bool_).reshape(len(table), spec.shape[0])


def embedding_array(table: pa.Table, spec: ViewSpec) -> NDArray[np.floating]:
    """Return the embeddings as stored, float32 or float16, shape (N, *spec.shape); no copy."""
    chunks = table.column("embedding")
    column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    storage = column.storage if isinstance(column.type, pa.FixedShapeTensorType) else column
    flat: NDArray[np.floating] = storage.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), *spec.shape)


def refuse_repeated(what: str, clip_ids: Sequence[str]) -> None:
    """Raise UsageError if a clip comes twice: a part has one row per clip."""
    if len(set(clip_ids)) < len(clip_ids):
        twice = next(clip for clip, count in Counter(clip_ids).items() if count > 1)
        raise UsageError(f"{what} of clip {twice}: given more than once")
