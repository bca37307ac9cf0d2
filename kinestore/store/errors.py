"""The errors that a person can cause, each one sentence long."""


class KinestoreError(Exception):
    """Something went wrong that a person can mend; the message says what, with its value."""


class UsageError(KinestoreError, ValueError):
    """The request itself was wrong: the command line answers with exit status 2."""


class StoreError(KinestoreError):
    """The store on disk is absent, newer than this version, or broken."""
