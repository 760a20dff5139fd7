"""Whose rows a statement may touch: the row scope, which PostgreSQL holds against each row of a table that an
organisation owns (`ledger.row_security`).

A scope is a text of words with commas between: ids of organisations, `*` and an action of the policy table for whoever
reads everybody's rows by it, `*` alone for everything. The empty text, nothing, is what holds where nobody said
otherwise. SQLite knows no roles and asks nobody.

Every statement that reads or writes rows carries its scope, in one message to the server and for its own transaction
alone: nothing is left on the connection for whoever has it next, be it lent by a pooler for each transaction.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

SETTING: Final = "meterproof.row_scope"
EVERYTHING: Final = "*"
NOTHING: Final = ""
_WORD: Final = re.compile(r"[a-z][a-z0-9_]*|\*[a-z_]+\.[a-z_]+")  # stands between quotes in SQL
# Others need no scope, and some (VACUUM, CREATE DATABASE) run only when they are sent alone.
_TOUCHES_ROWS: Final = re.compile(r"\s*(?:\(|(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|EXPLAIN)\b)", re.I)

_current: ContextVar[str] = ContextVar("row scope", default=NOTHING)


def of(organisations: Iterable[str], everywhere: Iterable[str] = ()) -> str:
    """The scope of whoever acts for `organisations`, and reads everybody's rows by the actions `everywhere`."""
    words = [*sorted(organisations), *sorted(f"*{action}" for action in everywhere)]
    if wrong := [word for word in words if not _WORD.fullmatch(word)]:
        raise ValueError(f"{wrong[0]!r} is no word of a row scope")
    return ",".join(words)


def current() -> str:
    """The scope of statements that are sent now."""
    return _current.get()


@contextmanager
def use(scope: str) -> Iterator[None]:
    """Let statements have `scope` until the block ends."""
    before = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(before)


@contextmanager
def everything() -> Iterator[None]:
    """For the platform's own work: jobs, commands, and the question who is asking. A block or a decorator."""
    with use(EVERYTHING):
        yield


def settle(scope: str) -> None:
    """Let statements have `scope` from now on, until the block around ends: it has become known who is asking."""
    _current.set(scope)


def _attach(connection: BaseDatabaseWrapper, **_kwargs: Any) -> None:
    """Outermost, as whoever counts statements takes the innermost off again."""
    if connection.vendor == "postgresql" and _say_scope not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _say_scope)


def _say_scope(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    if not isinstance(sql, str) or not _TOUCHES_ROWS.match(sql):
        return execute(sql, params, many, context)
    said = f"SET LOCAL {SETTING} TO '{current()}'"
    cursor = context["cursor"].cursor
    if many or getattr(cursor, "name", None):
        return _say_before(said, execute, sql, params, many, context)
    result = execute(f"{said}; {sql}", params, many, context)
    cursor.nextset()  # what SET answers comes first
    return result


def _say_before(
    said: str, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """For what cannot share its message: a cursor on the server, and one statement with many rows of values."""
    connection: BaseDatabaseWrapper = context["connection"]
    with transaction.atomic(using=connection.alias, savepoint=False), connection.cursor() as cursor:
        cursor.execute(said)
        return execute(sql, params, many, context)


connection_created.connect(_attach, dispatch_uid="jobs.row_scope")
