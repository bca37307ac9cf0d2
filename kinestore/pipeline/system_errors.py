"""Sentences on errors of the operating system: what failed, where, and the remedy."""

import errno

_CANNOT = "this file system cannot do that; name a folder on another"
_REMEDIES = {
    errno.ENOSPC: "the disk is full; make room, or name a folder on another",
    errno.EDQUOT: "your disk quota is used up; make room, or name a folder on another disk",
    errno.EFBIG: "the file would be larger than this file system or `ulimit -f` allows",
    errno.EROFS: "is mounted read-only; name a folder that can be written",
    errno.EACCES: "no permission; ask its owner, or name another",
    errno.EPERM: "the system does not allow it; name another folder",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk failed to read or write; check it",
    errno.ESTALE: "the network file system has lost it; mount it again",
    errno.ELOOP: "its links lead in a circle; mend them",
    errno.ENOTDIR: "has a file where a folder should be; name another",
    errno.EEXIST: "is a file where a folder should be; name another",
    errno.EISDIR: "is a folder; name a file",
    errno.EBUSY: "is in use by the system; name another",
    errno.ENOMEM: "there is not enough memory; end other programs",
    **dict.fromkeys((errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENODEV), _CANNOT),
}
"""What an error number means to a user, with the remedy."""


def describe_error(error: OSError, where: object = None) -> str:
    """Return one sentence: the file or folder, what failed, and the remedy."""
    reason = _REMEDIES.get(error.errno or 0) or error.strerror
    place = where or error.filename
    if reason is None or place is None:
        return reason or " ".join(str(error).split()) or type(error).__name__
    return f"{place}: {reason}"
