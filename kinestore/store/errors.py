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
