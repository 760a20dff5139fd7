"""Memory while a log is read: some megabytes at a time are made and dropped, thousands of times over.

Both habits below are meant for programs that keep what they make. Each cost a tenth of the time of an fsck.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from compliance.jobs.memory import keep_freed_blocks


@contextmanager
def kept() -> Iterator[None]:
    """Inside, memory that is freed is kept for the next page, and nobody looks for cycles: rows have none."""
    keep_freed_blocks()
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
