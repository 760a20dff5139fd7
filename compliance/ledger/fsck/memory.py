"""Memory while a log is read: some megabytes at a time are made and dropped, thousands of times over.

Both habits below are meant for programs that keep what they make. Each cost a tenth of the time of an fsck.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

_LARGEST_KEPT: Final = 31 << 20  # below the 32 MiB up to which glibc moves its limit: mallopt(3), M_MMAP_THRESHOLD


@contextmanager
def kept() -> Iterator[None]:
    """Inside, memory that is freed is kept for the next page, and nobody looks for cycles: rows have none."""
    _keep_large_blocks()
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


@cache
def _keep_large_blocks() -> None:
    """Let glibc learn, from one large block that is freed untouched, not to give smaller ones back to the system,
    which would clear each page of them again. Nothing happens where there is another allocator.
    """
    bytes(_LARGEST_KEPT)
