"""How a web worker keeps the memory it has freed.

A batch passes through some ten buffers of half a megabyte to a megabyte and a half. glibc hands such a buffer back to
the kernel when it is freed and gets it anew for the next batch, page by page: a tenth of a worker's time.
"""

import ctypes
from typing import Final

# mallopt(3), values of glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
LARGEST_KEPT: Final = 32 * 1024 * 1024  # the most that glibc takes for its threshold; above any buffer of ours
MOST_KEPT: Final = 64 * 1024 * 1024  # at the end of an arena: a few batches at once


def keep_freed_memory() -> None:
    """Let this process keep freed buffers for the next batch. Without glibc nothing changes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(_TRIM_THRESHOLD, MOST_KEPT)
