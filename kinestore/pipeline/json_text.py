"""JSON of results, for files, pages and scripts."""

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: object, **settings: Any) -> str:
    """Return a value as JSON. Numbers that JSON does not have, NaN and infinity, become null.

    Args:
        value: Of dictionaries, sequences, texts, numbers and None.
        **settings: Further arguments of `json.dumps`.
    """
    return json.dumps(_finite(value), allow_nan=False, **settings)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
