"""Fences around the insert-only tables: triggers that refuse UPDATE, DELETE and TRUNCATE, in the database itself.

They are a fence, not the proof: whoever administers the database can take them down, and then the chain, the tree and
the signer store tell. Django remakes SQLite tables in some migrations and drops their triggers with them, so all
guards are put up again after every migrate, and `missing` is asked at start, by `manage.py check --database default`
and by the worker. Rooms above with rules of their own register them: `install` and `missing` speak of all guards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from django.apps import apps
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

HARM: Final = "recorded rows could be changed, or rows of one organisation be read by another"
MESSAGE: Final = "append-only: rows of this table are never changed or removed"
_FUNCTION: Final = "meterproof_append_only"
_FUNCTION_BODY: Final = f" BEGIN RAISE EXCEPTION '{MESSAGE} (%)', TG_TABLE_NAME USING ERRCODE = '23001'; END "
_PREFIX: Final = "append_only"

_protected: list[str] = []


class Further(Protocol):
    """Guards of another room: a module, or whatever has these two."""

    def install(self, using: str) -> None:
        """Put up every guard whose table is there."""

    def missing(self, using: str) -> list[str]:
        """The guards that are not there as they must be, as `table: name`."""


_further: list[Further] = []


def register(further: Further) -> None:
    """Let the guards of another room be put up and asked for with those of the ledger. For AppConfig.ready."""
    if further not in _further:
        _further.append(further)


def protect(model: type[models.Model]) -> None:
    """Let the table of `model` be insert-only from the next migrate on. For AppConfig.ready."""
    if model._meta.label not in _protected:
        _protected.append(model._meta.label)


def protected_tables() -> list[str]:
    """The insert-only tables of all rooms that named them by `protect`, their partitions included."""
    connection = connections["default"]
    tables = [apps.get_model(label)._meta.db_table for label in _protected]
    if connection.vendor != "postgresql":
        return tables
    with connection.cursor() as cursor:
        return [name for table in tables for name in _with_partitions(cursor, table)]


@dataclass(frozen=True, slots=True)
class Guard:
    """One trigger that has to be there."""

    table: str
    name: str
    statement: str
    of: str  # label of the model whose table or partition it is


def install(using: str = "default") -> None:
    """Put up every guard, in the place of whatever bears its name."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql "
                f"AS $body${_FUNCTION_BODY}$body$"
            )
        present = set(connection.introspection.table_names(cursor))
        for guard in expected(connection, cursor):
            if guard.table not in present and connection.vendor != "postgresql":
                continue
            cursor.execute(_drop(connection, guard))
            _put_up(connection, cursor, guard)
    for further in _further:
        further.install(using)


@contextmanager
def lifted(model: type[models.Model]) -> Iterator[None]:
    """Take down the guards of one table for the statements inside. Nobody else ever sees the table without them.

    They are down only within a transaction that holds the table for itself, and are up again when it commits. Needs the
    rights of the table's owner.
    """
    connection = connections["default"]
    with transaction.atomic(), connection.cursor() as cursor:
        mine = [guard for guard in expected(connection, cursor) if guard.of == model._meta.label]
        for guard in mine:
            cursor.execute(_drop(connection, guard))
        yield
        for guard in mine:
            _put_up(connection, cursor, guard)


def missing(using: str = "default") -> list[str]:
    """The guards that are gone, switched off or changed, as `table: name`."""
    connection = connections[using]
    with connection.cursor() as cursor:
        standing = _standing(connection, cursor)
        gone = [
            f"{guard.table}: {guard.name}"
            for guard in expected(connection, cursor)
            if standing.get((guard.table, guard.name)) != _fingerprint(connection, guard)
        ]
        if connection.vendor == "postgresql":
            cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = %s", [_FUNCTION])
            if [row[0] for row in cursor.fetchall()] != [_FUNCTION_BODY]:
                gone.append(f"function {_FUNCTION}")
    return gone + [name for further in _further for name in further.missing(using)]


def expected(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> Iterator[Guard]:
    """Every guard this database must have."""
    for label in _protected:
        model = apps.get_model(label)
        if connection.vendor == "postgresql":
            for table in _with_partitions(cursor, model._meta.db_table):
                yield _postgres_guard(connection, table, label)
        else:
            yield from _sqlite_guards(connection, model)


def _postgres_guard(connection: BaseDatabaseWrapper, table: str, label: str) -> Guard:
    quote = connection.ops.quote_name
    return Guard(
        table,
        _PREFIX,
        f"CREATE TRIGGER {quote(_PREFIX)} BEFORE UPDATE OR DELETE OR TRUNCATE ON {quote(table)} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()",
        label,
    )


def _sqlite_guards(connection: BaseDatabaseWrapper, model: type[models.Model]) -> Iterator[Guard]:
    """One trigger each for UPDATE and DELETE, and one for the REPLACE that fires neither."""
    quote = connection.ops.quote_name
    table = model._meta.db_table
    for event in ("update", "delete"):
        name = f"{table}_{_PREFIX}_{event}"
        yield Guard(
            table,
            name,
            f"CREATE TRIGGER {quote(name)} BEFORE {event.upper()} ON {quote(table)} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
            model._meta.label,
        )
    name = f"{table}_{_PREFIX}_replace"
    same = " OR ".join(
        "(" + " AND ".join(f"{quote(column)} IS NEW.{quote(column)}" for column in key) + ")" for key in _keys(model)
    )
    present = " ".join(("SELECT 1 FROM", quote(table), "WHERE", same))
    yield Guard(
        table,
        name,
        f"CREATE TRIGGER {quote(name)} BEFORE INSERT ON {quote(table)} "
        f"WHEN EXISTS ({present}) "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
        model._meta.label,
    )


def _keys(model: type[models.Model]) -> list[list[str]]:
    primary = [str(field.column) for field in model._meta.pk_fields]
    unique = [str(field.column) for field in model._meta.concrete_fields if field.unique]
    return [primary, *([column] for column in unique if column not in primary)]


def _with_partitions(cursor: CursorWrapper, table: str) -> list[str]:
    """`table` and its partitions: statement triggers of the parent do not fire for statements on a partition."""
    cursor.execute(
        "SELECT c.relname FROM pg_class c WHERE c.oid = to_regclass(%s) UNION ALL "
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)",
        [table, table],
    )
    return [row[0] for row in cursor.fetchall()]


def _put_up(connection: BaseDatabaseWrapper, cursor: CursorWrapper, guard: Guard) -> None:
    cursor.execute(guard.statement)
    if connection.vendor == "postgresql":  # ALWAYS: session_replication_role does not switch it off
        quote = connection.ops.quote_name
        cursor.execute(f"ALTER TABLE {quote(guard.table)} ENABLE ALWAYS TRIGGER {quote(guard.name)}")


def _drop(connection: BaseDatabaseWrapper, guard: Guard) -> str:
    quote = connection.ops.quote_name
    on_table = f" ON {quote(guard.table)}" if connection.vendor == "postgresql" else ""
    return f"DROP TRIGGER IF EXISTS {quote(guard.name)}{on_table}"


def _standing(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> dict[tuple[str, str], Any]:
    if connection.vendor == "postgresql":
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgenabled, t.tgtype, p.proname FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal"
        )
        return {(table, name): (enabled, kind, function) for table, name, enabled, kind, function in cursor.fetchall()}
    cursor.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {(table, name): statement for table, name, statement in cursor.fetchall()}


def _fingerprint(connection: BaseDatabaseWrapper, guard: Guard) -> Any:
    if connection.vendor != "postgresql":
        return guard.statement
    before, delete, update, truncate = 2, 8, 16, 32  # bits of pg_trigger.tgtype; FOR EACH ROW would be 1
    return ("A", before | delete | update | truncate, _FUNCTION)
