"""One transaction around a use case, repeated as a whole when the database asks for it.

Deadlocks and serialization failures are not errors but requests to try again (engineering rule for every engine that
may come later); SQLite says the same with SQLITE_BUSY. Nothing may leave a unit of work before it has committed.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.01  # doubles each time, half of it at random: all attempts together stay below a second
RETRY_STATES: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected


class unit_of_work:  # noqa: N801 (reads as the statement it is: `with unit_of_work():`, `@unit_of_work()`)
    """A transaction that joins an outer one.

    As decorator the whole function is repeated, a bounded number of times, after a deadlock or a serialization
    failure; it must therefore change nothing outside the database. A `with` block cannot be repeated and only is a
    transaction.
    """

    def __init__(self) -> None:
        self._atomic = transaction.atomic()

    def __enter__(self) -> None:
        self._atomic.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._atomic.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run `function` inside, again if need be."""

        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            if connection.in_atomic_block:  # only the outermost transaction can be repeated
                with transaction.atomic():
                    return function(*args, **kwargs)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with transaction.atomic():
                        return function(*args, **kwargs)
                except OperationalError as error:
                    if attempt == ATTEMPTS or not asks_for_another_try(error):
                        raise
                pause = FIRST_PAUSE_SECONDS * 2**attempt
                time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads the losers, hides nothing)
            raise AssertionError("unreachable")

        return inside


def asks_for_another_try(error: OperationalError) -> bool:
    """Whether the same transaction may succeed when it is repeated."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return (cause.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(cause, "sqlstate", None) in RETRY_STATES
