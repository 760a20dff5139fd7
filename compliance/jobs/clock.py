"""The one clock of the product: the system's, unless a test puts another in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


def _system_time() -> datetime:
    return datetime.now(UTC)


_read: Callable[[], datetime] = _system_time


def now() -> datetime:
    """The present moment, aware, in UTC, to the microsecond."""
    return _read()


@contextmanager
def use(read: Callable[[], datetime]) -> Iterator[None]:
    """Take the time from `read` until the block ends."""
    global _read
    before, _read = _read, read
    try:
        yield
    finally:
        _read = before
