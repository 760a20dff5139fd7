"""The network and the clock as something that fails."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compliance.jobs import clock
from tests.faults.counting import Countdown

_CALLS = ("connect", "sendall", "send", "recv", "recv_into")


@contextmanager
def network_fails(countdown: Countdown) -> Iterator[None]:
    """Every call of a socket of ours, but for those to the database, can find that the other side is gone.

    Ours are those of this thread: the other side may be a server that the test runs in another.
    """
    ours = threading.get_ident()
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            failing = _failing(name, getattr(socket.socket, name), countdown, ours)
            patch.setattr(socket.socket, name, failing, raising=False)
        yield


def _failing(name: str, call: Any, countdown: Countdown, ours: int) -> Any:
    def failing(self: socket.socket, *args: Any) -> Any:
        is_ours = threading.get_ident() == ours and self.family in (socket.AF_INET, socket.AF_INET6)
        if is_ours and countdown.strikes(name):
            raise ConnectionResetError("Connection reset by peer") if name != "connect" else ConnectionRefusedError()
        return call(self, *args)

    return failing


@contextmanager
def clock_jumps(countdown: Countdown, by: timedelta) -> Iterator[None]:
    """F45: reading the clock gives a time that is wrong by `by`, once or from then on."""

    def read() -> datetime:
        return datetime.now(UTC) + (by if countdown.strikes("clock") else timedelta())

    with clock.use(read):
        yield
