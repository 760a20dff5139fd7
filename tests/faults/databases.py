"""The database as something that fails: at the driver, with the driver's errors, and with the driver's after-effects.

On PostgreSQL the socket is really cut, before a request leaves or after the server has answered it, and a deadlock is
raised by the server, so that libpq, psycopg and Django see what they would see in life. SQLite runs in our process:
there the error is raised where its C library would, with its code, and if asked for with the rollback it does itself.
"""

import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper
from django.db.utils import DatabaseErrorWrapper

from tests.faults.counting import Countdown

SAVEPOINT_WORDS = ("SAVEPOINT", "RELEASE", "ROLLBACK")


@contextmanager
def statements_fail(countdown: Countdown) -> Iterator[None]:
    """F21: the statement never gets through. PostgreSQL: the connection is lost before it. SQLite: an I/O error."""
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            _patch_wait(patch, countdown, _cut_before)
        else:
            _patch_sqlite(patch, countdown, _io_error, rolls_back=False)
        yield


@contextmanager
def answers_are_lost(countdown: Countdown) -> Iterator[None]:
    """F22: the statement, also a COMMIT, is carried out and nobody hears of it.

    SQLite has no such thing. There the error is that of a full disk, after which SQLite itself has rolled back the
    whole transaction, whatever Django thinks.
    """
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            _patch_wait(patch, countdown, _cut_after)
        else:
            _patch_sqlite(patch, countdown, _disk_full, rolls_back=True)
        yield


@contextmanager
def database_asks_again(countdown: Countdown) -> Iterator[None]:
    """F25, F27: a deadlock, raised by the server so that the transaction is over; on SQLite "database is locked"."""
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            _patch_deadlock(patch, countdown)
        else:
            _patch_sqlite(patch, countdown, _busy, rolls_back=False, commits=False)
        yield


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

_NEVER_LEAVES = ("_set_autocommit_gen", "_enter_gen")  # a flag of psycopg's, the mode of a pipeline: no server hears
_DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END $$"


def _patch_wait(patch: pytest.MonkeyPatch, countdown: Countdown, fail: Callable[[Any, Callable[[], Any]], Any]) -> None:
    """Every conversation with the server goes through `Connection.wait`, COPY, COMMIT and ROLLBACK included."""
    wait = psycopg.Connection.wait

    def failing(self: Any, generator: Any, *args: Any, **options: Any) -> Any:
        talks = self.pgconn.status == psycopg.pq.ConnStatus.OK and generator.__name__ not in _NEVER_LEAVES
        if talks and countdown.strikes(generator.__name__):
            return fail(self, lambda: wait(self, generator, *args, **options))
        return wait(self, generator, *args, **options)

    patch.setattr(psycopg.Connection, "wait", failing)
    _patch_connect(patch, countdown, psycopg.OperationalError("connection to server failed: Connection refused"))


def _cut(lost: Any) -> None:
    with socket.socket(fileno=os.dup(lost.pgconn.socket)) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def _cut_before(lost: Any, talk: Callable[[], Any]) -> Any:
    _cut(lost)
    return talk()  # libpq finds out by itself


def _cut_after(lost: Any, talk: Callable[[], Any]) -> Any:
    talk()
    _cut(lost)
    lost.pgconn.exec_(b"SELECT 1")  # libpq notices that the connection is gone, as it would have for the answer
    raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


def _patch_deadlock(patch: pytest.MonkeyPatch, countdown: Countdown) -> None:
    execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy

    def deadlocked(cursor: Any) -> None:
        if cursor.connection.autocommit is False and countdown.strikes("execute"):
            with psycopg.Cursor(cursor.connection) as other:
                execute(other, _DEADLOCK)

    def failing_execute(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        if not str(query).startswith(SAVEPOINT_WORDS):
            deadlocked(self)
        return execute(self, query, *args, **options)

    def failing_copy(self: Any, *args: Any, **options: Any) -> Any:
        deadlocked(self)
        return copy(self, *args, **options)

    patch.setattr(psycopg.Cursor, "execute", failing_execute)
    patch.setattr(psycopg.Cursor, "copy", failing_copy)


def settle() -> None:
    """Leave the broken connection, and wait until the server has ended what it still did for it."""
    connection.close()
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for _ in range(2_000):
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
            if cursor.fetchone() == (0,):
                return
            cursor.execute("SELECT pg_sleep(0.005)")
    raise TimeoutError("the server goes on working for a connection that was cut")


# --- SQLite ----------------------------------------------------------------------------------------------------------


def _patch_sqlite(
    patch: pytest.MonkeyPatch,
    countdown: Countdown,
    error: Callable[[], sqlite3.OperationalError],
    *,
    rolls_back: bool,
    commits: bool = True,
) -> None:
    execute, executemany = SQLiteCursorWrapper.execute, SQLiteCursorWrapper.executemany
    commit = BaseDatabaseWrapper._commit

    def strike(call: str, wrapped: sqlite3.Connection) -> None:
        if not countdown.strikes(call):
            return
        if rolls_back and wrapped.in_transaction:
            sqlite3.Cursor(wrapped).execute("ROLLBACK")
        raise error()

    def failing_execute(self: Any, query: str, params: Any = None) -> Any:
        if not query.startswith("ROLLBACK"):  # which a full disk does not keep from working
            strike(query.split(maxsplit=1)[0], self.connection)
        return execute(self, query, params)

    def failing_executemany(self: Any, query: str, rows: Any) -> Any:
        strike("executemany", self.connection)
        return executemany(self, query, rows)

    def failing_commit(self: Any) -> Any:
        if self.connection is not None and commits:
            with DatabaseErrorWrapper(self):
                strike("COMMIT", self.connection)
        return commit(self)

    patch.setattr(SQLiteCursorWrapper, "execute", failing_execute)
    patch.setattr(SQLiteCursorWrapper, "executemany", failing_executemany)
    patch.setattr(BaseDatabaseWrapper, "_commit", failing_commit)
    _patch_connect(patch, countdown, error())


def _coded(text: str, code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


def _io_error() -> sqlite3.OperationalError:
    return _coded("disk I/O error", sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE")


def _disk_full() -> sqlite3.OperationalError:
    return _coded("database or disk is full", sqlite3.SQLITE_FULL, "SQLITE_FULL")


def _busy() -> sqlite3.OperationalError:
    return _coded("database is locked", sqlite3.SQLITE_BUSY, "SQLITE_BUSY")


def _patch_connect(patch: pytest.MonkeyPatch, countdown: Countdown, error: Exception) -> None:
    kind = type(connections[DEFAULT_DB_ALIAS])
    connect = kind.get_new_connection

    def failing_connect(self: Any, parameters: Any) -> Any:
        if countdown.strikes("connect"):
            raise error
        return connect(self, parameters)

    patch.setattr(kind, "get_new_connection", failing_connect)
