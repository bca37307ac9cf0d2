"""Words for the parts of a data set: training, validation and test clips."""

import re

_MEANINGS = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "validating": "val",
    "vali": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "te": "test",
    "holdout": "test",
    "heldout": "test",
    "eval": "eval",
    "evaluate": "eval",
    "evaluation": "eval",
}
"""Meaning of a mark without case and separators; "eval" is the test part where there is no other,
else the validation part."""


def split_meaning(word: str) -> str | None:
    """Return "train", "val", "test" or "eval", as a word like "Training_set" means, or None."""
    plain = re.sub(r"[\s_-]+", "", word).casefold()
    return _MEANINGS.get(plain) or _MEANINGS.get(re.sub(r"(set|split|part|data|clips)$", "", plain))
