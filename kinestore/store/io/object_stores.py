"""Which object stores are known, by what package, and what they say when something goes wrong."""

import contextlib
import errno
import functools
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from kinestore.store.errors import UsageError

PACKAGES = {"s3": ("s3fs", "'kinestore[remote]'"), "gs": ("gcsfs", "gcsfs")}
"""By protocol, the package that knows it, and what to install."""


def require_package(protocol: str) -> None:
    """See to it that the protocol's package is installed.

    Raises:
        UsageError: If it is not.
    """
    package, install = PACKAGES[protocol]
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{protocol}://: needs the package {package}; pip install {install}")


@contextlib.contextmanager
def telling(protocol: str, address: str) -> Iterator[Any]:
    """The file system, with errors of one kind: libraries have some that are no OSErrors.

    Raises:
        OSError: For whatever goes wrong in the block, naming the address.
    """
    files = _file_system(protocol)
    try:
        yield files
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", address) from error
    except FileExistsError:
        raise
    except PermissionError as error:
        raise PermissionError(errno.EACCES, _reason(error), address) from error
    except Exception as error:
        raise OSError(errno.EIO, _reason(error), address) from error


@functools.cache
def _file_system(protocol: str) -> Any:
    import fsspec  # comes with the packages

    return fsspec.filesystem(protocol, use_listings_cache=False)  # others write at the same time


def _reason(error: Exception) -> str:
    """One line, without a password that an endpoint's address may hold."""
    said = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"//[^/@\s]*@", "//", said)[:300]
