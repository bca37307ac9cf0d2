"""Imports of libraries on first use, since each takes seconds to import."""

import importlib
import warnings
from typing import Any

from kinestore.store import UsageError


def library(module: str) -> Any:
    """Import and return a module of another library.

    Raises:
        UsageError: If the library is not installed, or does not load here.
    """
    try:
        with warnings.catch_warnings():
            # pytorchvideo decorates with torch.jit.script, which torch has deprecated.
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
            return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(
            f"{name} does not load here ({error}); install it: pip install {name}"
        ) from error
