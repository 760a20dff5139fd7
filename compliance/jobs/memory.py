"""How a process keeps the memory it has freed.

A batch passes through some ten buffers of half a megabyte to a megabyte and a half, a page of the log through as many.
glibc hands a block of that size back to the system when it is freed and gets it anew for the next, each page of it
cleared: a tenth of the time of a web worker, and of an fsck.
"""

from functools import cache
from typing import Final

_LARGEST_KEPT: Final = 31 << 20  # below the 32 MiB up to which glibc moves its limit: mallopt(3), M_MMAP_THRESHOLD


@cache
def keep_freed_blocks() -> None:
    """Let glibc learn, from one large block that is freed untouched, to keep smaller ones for the next use. Nothing
    happens where there is another allocator.
    """
    bytes(_LARGEST_KEPT)
