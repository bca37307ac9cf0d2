"""The explorer's data as values of JSON.

Arrays are base64 of little-endian numbers, which a browser reads without parsing.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.explorer.page import Page
from kinestore.pipeline.plotting.legend import NUM_STYLES, style

_ARRAYS = {"<f4": "Float32Array", "<u2": "Uint16Array", "<u4": "Uint32Array"}


def encode(page: Page) -> dict[str, object]:
    """Encode all of a page but its thumbnails."""
    folders, files = zip(*(_split(uri) for uri in page.uris), strict=True)
    columns = {**page.columns, **_prediction_columns(page)}
    encoded: dict[str, object] = {
        "points": _array(page.points.ravel(), "<f4"),
        "clipIds": list(page.clip_ids),
        "folders": _coded(folders),
        "files": files,
        "captions": list(page.captions),
        "columns": [{"name": name, **_coded(values)} for name, values in columns.items()],
        "color": page.color,
        "scored": bool(page.predicted),
        "confidence": None,
        "neighbors": None,
        "styles": [style(number) for number in range(NUM_STYLES)],
    }
    if len(page.confidence):
        numbers = np.array([np.nan if one is None else one for one in page.confidence])
        encoded["confidence"] = _array(numbers, "<f4")
    if page.neighbors is not None:
        encoded["neighbors"] = _array(page.neighbors.ravel(), "<u4")
    return encoded


def encode_thumbnails(page: Page) -> str:
    """Return a line of base64 for each clip in order, empty where it has no thumbnail."""
    files = (page.thumbnails.get(clip_id, b"") for clip_id in page.clip_ids)
    return "\n".join(base64.b64encode(file).decode() for file in files)


def _prediction_columns(page: Page) -> dict[str, list[str | None]]:
    """Return the columns that a run's predictions add."""
    if not page.predicted:
        return {}
    labels = page.columns["label"]
    return {
        "prediction": list(page.predicted),
        "outcome": [
            _outcome(label, predicted)
            for label, predicted in zip(labels, page.predicted, strict=True)
        ],
    }


def _outcome(label: str | None, predicted: str | None) -> str | None:
    if label is None or predicted is None:
        return None
    return "right" if predicted == label else "wrong"


def _split(uri: str) -> tuple[str, str]:
    """Split into the folder with its last slash, which many files share, and the file's name."""
    cut = uri.rfind("/") + 1
    return uri[:cut], uri[cut:]


def _coded(values: Sequence[str | None]) -> dict[str, object]:
    """Encode distinct values, in alphabetical order and None last, and a number for each row."""
    names: list[str | None] = [*sorted({value for value in values if value is not None})]
    if any(value is None for value in values):
        names.append(None)
    numbers = {name: number for number, name in enumerate(names)}
    codes = np.array([numbers[value] for value in values])
    return {"names": names, "codes": _array(codes, "<u2" if len(names) <= 2**16 else "<u4")}


def _array(values: NDArray[Any], dtype: str) -> dict[str, str]:
    """Encode a one-dimensional array, with the name of its JavaScript type."""
    raw = values.astype(dtype).tobytes()
    return {"type": _ARRAYS[dtype], "base64": base64.b64encode(raw).decode()}
