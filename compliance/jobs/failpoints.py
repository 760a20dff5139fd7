"""Named places where a test can make the product fail, as a crash, a full disk or a lost connection would.

Production code calls `reach("room.step")` at the steps whose interruption must do no harm. Nothing happens there unless
a test armed the point with `arm`, or the process was started with `METERPROOF_FAIL_AT=name`, which kills it at that
point as `kill -9` does.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_armed: dict[str, Callable[[], None]] = {}
_kill_at = os.environ.get("METERPROOF_FAIL_AT")


def reach(name: str) -> None:
    """Do what a test asked for at the point `name`; without one, nothing."""
    if name == _kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    if action := _armed.get(name):
        action()


@contextmanager
def arm(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Run `action` whenever the point `name` is reached, until the block ends."""
    _armed[name] = action
    try:
        yield
    finally:
        del _armed[name]
