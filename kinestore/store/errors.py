"""The errors that kinestore raises, each one sentence long."""

import errno

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of the system for a file that does not fit."""


class KinestoreError(Exception):
    """An error that the user can fix; the message names the thing, its value and the remedy."""


class UsageError(KinestoreError, ValueError):
    """A wrong argument or request: the command line exits with status 2."""


class StoreError(KinestoreError):
    """A store that is absent, newer than this version, or broken."""


class AccessError(StoreError, OSError):
    """A file or folder out of reach (permission, network, a link): it may be sound.

    It has an error number, a reason and an address, in this order.
    """

    def __str__(self) -> str:
        """Return one sentence with the address."""
        return f"{self.filename}: {self.strerror}"


def advise(error: Exception, remedy: str) -> str:
    """Return the error's sentence, with the remedy for a broken file unless it may be sound."""
    if is_of_the_system(error):
        return f"{error}; nothing is known to be broken: try again when it can be read"
    return f"{error}; {remedy}"


def is_of_the_system(error: BaseException | None) -> bool:
    """Return whether the machine or network is at fault: a good file must not be removed then."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            return not isinstance(error, FileNotFoundError)
        error = error.__cause__
    return False
