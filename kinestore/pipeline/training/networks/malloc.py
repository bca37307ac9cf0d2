"""Reuse of freed memory in a process that trains."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let this process reuse the memory that it frees, instead of returning it to the system.

    glibc returns large blocks to the system at once. A network frees the same ones in every
    step, and getting them back costs a page fault for each 4 KiB: of ResNet-50 on clips, a third of
    the time on a CPU. The memory of a process stops growing after a few steps, somewhat above what
    it needs at once because of gaps between blocks, and does not shrink again.

    Returns:
        Whether it does; other C libraries are left as they are.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))
    except (OSError, AttributeError):
        return False
