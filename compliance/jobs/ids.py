"""Public ids: a prefix that says of what, and a UUIDv7 (RFC 9562 section 5.7), so that later ids sort after earlier."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from compliance.jobs import clock

_random_bits: Callable[[int], int] = secrets.randbits


def new_id(prefix: str) -> str:
    """A fresh id such as `rpt_0197…`: `prefix`, an underscore, 32 hex digits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    value = (milliseconds << 80) | (0x7 << 76) | (_random_bits(12) << 64) | (0b10 << 62) | _random_bits(62)
    return f"{prefix}_{UUID(int=value).hex}"


@contextmanager
def use_bits(source: Callable[[int], int]) -> Iterator[None]:
    """Take the random bits from `source(count)` until the block ends, so that a test can foresee ids."""
    global _random_bits
    before, _random_bits = _random_bits, source
    try:
        yield
    finally:
        _random_bits = before
