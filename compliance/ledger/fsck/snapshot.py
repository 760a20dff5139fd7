"""One state of the database for a whole fsck, and a second connection that sees the same one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from django.db import connection, transaction

_T = TypeVar("_T")

# Not READ ONLY: rooms that compare a rebuild with their tables make it in temporary ones.
_ISOLATED: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


@contextmanager
def snapshot() -> Iterator[str | None]:
    """One state of the database from beginning to end, without keeping anybody from writing.

    Gives the name by which PostgreSQL lets other connections see it too; None where they cannot: on SQLite, and inside
    a transaction that was begun before and may have written.
    """
    if connection.in_atomic_block:
        yield None
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_ISOLATED)
                cursor.execute("SELECT pg_export_snapshot()")
                (name,) = cursor.fetchone()
            yield name
    else:
        connection.ensure_connection()  # Django reads the mode from the settings as it connects
        mode, connection.transaction_mode = connection.transaction_mode, "DEFERRED"  # type: ignore[attr-defined]
        try:
            with transaction.atomic():
                yield None
        finally:
            connection.transaction_mode = mode  # type: ignore[attr-defined]


@contextmanager
def beside(name: str | None, function: Callable[[], _T]) -> Iterator["Future[_T]"]:
    """What comes of `function`, which reads the snapshot `name` on a connection of its own while this thread goes on.

    Without a name it is read here and at once. Leaving the block waits for it.
    """
    if name is None:
        done: Future[_T] = Future()
        done.set_result(function())
        yield done
        return
    with ThreadPoolExecutor(1, thread_name_prefix="fsck-beside") as executor:
        yield executor.submit(_in_snapshot, name, function)


def _in_snapshot(name: str, function: Callable[[], _T]) -> _T:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_ISOLATED)
                cursor.execute("SET TRANSACTION SNAPSHOT %s", [name])
            return function()
    finally:
        connection.close()
