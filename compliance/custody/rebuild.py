"""All projections made again from the log alone, and the comparison of what stands with what the log says.

Batches are replayed in the order of the log, then those that have no place in it yet, through the very appliers that
run in an append. A comparison replays into temporary tables of the same names, which hide the real ones on this
connection alone: no row is touched and no append waits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection, models, transaction

from compliance.custody import links, meter_memory, projection
from compliance.custody.facts import Statement, read_entries
from compliance.custody.models import PROJECTIONS
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry, LeafRange, Pending
from compliance.proof.errors import ProofError

CODE = "projection.differs"
UNREAD = "projection.unread"
MAX_PROBLEMS = 100  # of one table; whoever sees a hundred rebuilds

Table = type[models.Model]
Replay = Callable[[Sequence[Statement]], None]
_further: list[tuple[Replay, Sequence[Table]]] = []


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a replay read and made."""

    batches: int
    entries: int
    rows: dict[str, int]


def register(replay: Replay, tables: Sequence[Table]) -> None:
    """Let a room above have its tables made again by the same replay."""
    if all(known is not replay for known, _ in _further):
        _further.append((replay, tables))


@transaction.atomic
def rebuild(*, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """Empty all projections and make them again. Appends wait until it is done."""
    _keep_appends_out()
    for table in _tables():
        table._default_manager.all().delete()
    with meter_memory.made_anew():
        batches, entries = _replay(progress)
        meter_memory.take_over()
    if links.is_behind():
        links.ring()
    rows = {table._meta.db_table: table._default_manager.count() for table in _tables()}
    return Rebuilt(batches, entries, rows)


def compare() -> Iterator[Problem]:
    """What differs between the projections as they stand and as the log makes them.

    A log with entries that cannot be read makes none; fsck has named those entries then.
    """
    try:
        with replayed() as differences:
            problems = differences()
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError, ProofError) as error:
        problems = [Problem(UNREAD, "the projections", f"they cannot be compared, as the log cannot be read: {error}")]
    yield from problems


@contextmanager
def replayed() -> Iterator[Callable[[], list[Problem]]]:
    """The projections made again beside the standing ones; gives a function that says what differs at that moment."""
    with _hidden_tables() as (standing, made), meter_memory.made_anew():
        _replay(None)
        yield lambda: [
            *(problem for table in _tables() for problem in _differences(table, standing, made)),
            *(
                Problem(CODE, f"ledger_head {key.hex()}", f"memory is {there!r}, by the log {true!r}")
                for key, there, true in meter_memory.differences(MAX_PROBLEMS)
            ),
        ]


def _tables() -> list[Table]:
    return [*PROJECTIONS, *(table for _, tables in _further for table in tables)]


def _keep_appends_out() -> None:
    if connection.vendor == "postgresql":  # SQLite has one writer as it is
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE ledger_batch IN SHARE MODE")


def _replay(progress: Callable[[int, int], None] | None) -> tuple[int, int]:
    order = list(LeafRange.objects.order_by("first_index").values_list("batch", flat=True))
    order += Pending.objects.order_by("recorded_at", "batch").values_list("batch", flat=True)
    entries = 0
    with links.silence():
        for done, batch in enumerate(order, start=1):
            told = read_entries(list(Entry.objects.filter(batch=batch).order_by("index")))
            entries += len(told)
            with meter_memory.of({statement.key for statement in told}) as memory:
                projection.apply_statements(told, memory)
            for replay, _ in _further:
                replay(told)
            if progress is not None:
                progress(done, len(order))
        links.resolve_waiting()
    return len(order), entries


@contextmanager
def _hidden_tables() -> Iterator[tuple[str, str]]:
    """Put empty temporary tables before the real ones; gives the schemas of the real and of the temporary ones."""
    postgres = connection.vendor == "postgresql"
    with transaction.atomic(), connection.cursor() as cursor:
        if postgres and len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # appends go on meanwhile
        names = [table._meta.db_table for table in _tables()]
        if postgres:
            cursor.execute("SELECT current_schema()")
            (schema,) = cursor.fetchone()
            for name in names:
                cursor.execute(f'CREATE TEMPORARY TABLE "{name}" (LIKE "{schema}"."{name}" INCLUDING ALL)')
        else:
            schema = "main"
            for statement in _sqlite_definitions(names):
                cursor.execute(statement)
        try:
            yield schema, "pg_temp" if postgres else "temp"
        finally:
            if not connection.needs_rollback:
                for name in names:
                    cursor.execute(f'DROP TABLE "{"pg_temp" if postgres else "temp"}"."{name}"')


def _sqlite_definitions(names: Sequence[str]) -> list[str]:
    """Statements that make the same tables and indexes in the schema `temp`."""
    marks = ",".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT type, sql FROM main.sqlite_master WHERE tbl_name IN ({marks}) "  # noqa: S608
            "AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC",
            names,
        )
        found = cursor.fetchall()
    return [
        sql.replace("CREATE TABLE ", "CREATE TEMP TABLE ", 1)
        if kind == "table"
        else sql.replace('INDEX "', 'INDEX temp."', 1)
        for kind, sql in found
    ]


def _differences(table: Table, standing: str, made: str) -> list[Problem]:
    """Rows that stand only on one side. Counters of the database say nothing about the log and are left out."""
    columns = [str(part.column) for part in table._meta.concrete_fields if not isinstance(part, models.AutoField)]
    places = [columns.index(name) for name in _naming(table)]
    stood, said = _only_in(table, columns, standing, made), _only_in(table, columns, made, standing)
    stood_by = {tuple(row[place] for place in places): row for row in stood}
    said_by = {tuple(row[place] for place in places): row for row in said}
    name = table._meta.db_table
    return [
        Problem(CODE, f"{name} {_spelled(key)}", _difference(columns, stood_by.get(key), said_by.get(key)))
        for key in list(dict.fromkeys([*stood_by, *said_by]))[:MAX_PROBLEMS]
    ]


def _only_in(table: Table, columns: Sequence[str], here: str, not_there: str) -> list[tuple[Any, ...]]:
    listed = ", ".join(f'"{column}"' for column in columns)
    name = table._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT {listed} FROM "{here}"."{name}" EXCEPT SELECT {listed} FROM "{not_there}"."{name}"'  # noqa: S608
        )
        return [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in cursor]


def _naming(table: Table) -> list[str]:
    """Columns that name a row."""
    primary = table._meta.pk
    if primary is not None and not isinstance(primary, models.AutoField):
        return [str(primary.column)]
    unique = [
        constraint
        for constraint in table._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None
    ]
    return list(unique[0].fields)


def _spelled(key: Sequence[Any]) -> str:
    return "/".join(value.hex() if isinstance(value, bytes) else str(value) for value in key)


def _difference(columns: Sequence[str], stood: tuple[Any, ...] | None, said: tuple[Any, ...] | None) -> str:
    if stood is None:
        return "the row is missing"
    if said is None:
        return "the log makes no such row"
    return "; ".join(
        f"{column} is {there!r}, by the log {true!r}"
        for column, there, true in zip(columns, stood, said, strict=True)
        if there != true
    )
