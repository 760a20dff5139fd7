"""Reading and writing many rows of a projection with one statement, on either engine.

PostgreSQL gets all rows as one JSON parameter and unpacks them by type; SQLite runs one prepared statement a row
under its write lock. Both cost a small part of what saving objects one by one would.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection, models

from compliance.ledger.fields import BytesField

Row = Sequence[Any]
Convert = Callable[[Any], Any]
_ROWS_AT_ONCE = 2_000  # bounds the parameter to a few megabytes
_PARAMETERS = 500  # below SQLITE_MAX_VARIABLE_NUMBER of every build


def fetch(
    model: type[models.Model], columns: Sequence[str], *, key: str, values: Sequence[Any], condition: str = "TRUE"
) -> Iterator[tuple[Any, ...]]:
    """The `columns`, none of them a time or JSON, of the rows whose `key` is one of `values`."""
    listed = ", ".join(_quoted(name) for name in columns)
    statement = f"SELECT {listed} FROM {_quoted(model._meta.db_table)} WHERE {condition} AND {_quoted(key)}"  # noqa: S608
    at_once = _ROWS_AT_ONCE if connection.vendor == "postgresql" else _PARAMETERS
    for first in range(0, len(values), at_once):
        part = list(values[first : first + at_once])
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(f"{statement} = ANY(%s)", [part])
            else:
                cursor.execute(f"{statement} IN ({','.join(['%s'] * len(part))})", part)
            yield from cursor.fetchall()


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert `rows`, each a value a column in this order."""
    _write(model, tuple(columns), list(rows), "")


def insert_missing(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert those of `rows` that break no unique constraint."""
    _write(model, tuple(columns), list(rows), " ON CONFLICT DO NOTHING")


def upsert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row], *, key: Sequence[str]) -> None:
    """Insert `rows`; where one with the same `key` is there, give it the other values."""
    others = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in columns if name not in key)
    target = ", ".join(_quoted(name) for name in key)
    _write(model, tuple(columns), list(rows), f" ON CONFLICT ({target}) DO UPDATE SET {others}")


def update(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row], *, key: str) -> None:
    """Give the rows named by the column `key`, the first of `columns`, the other values."""
    listed = list(rows)
    for first in range(0, len(listed), _ROWS_AT_ONCE):
        part = listed[first : first + _ROWS_AT_ONCE]
        if connection.vendor == "postgresql":
            plan = _postgres_plan(model, tuple(columns))
            changes = ", ".join(
                f"{_quoted(name)} = {pick}" for name, pick in zip(columns[1:], plan.picks[1:], strict=True)
            )
            table = _quoted(model._meta.db_table)
            statement = f"UPDATE {table} AS t SET {changes} FROM {plan.rows} WHERE t.{_quoted(key)} = {plan.picks[0]}"  # noqa: S608
            with connection.cursor() as cursor:
                cursor.execute(statement, [_as_json(plan, part)])
        else:
            changes = ", ".join(f"{_quoted(name)} = %s" for name in columns[1:])
            statement = f"UPDATE {_quoted(model._meta.db_table)} SET {changes} WHERE {_quoted(key)} = %s"  # noqa: S608
            execute_many(statement, [(*row[1:], row[0]) for row in part])


def execute_many(statement: str, rows: Sequence[Row]) -> None:
    """Run a short statement for each of a few rows."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, [tuple(_adapted(value) for value in row) for row in rows])


def _write(model: type[models.Model], columns: tuple[str, ...], rows: list[Row], ending: str) -> None:
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[first : first + _ROWS_AT_ONCE]
        if connection.vendor == "postgresql":
            _write_postgres(model, columns, part, ending)
        else:
            _write_sqlite(model, columns, part, ending)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How rows of some columns travel: names and conversions on this side, types and expressions on the other."""

    names: tuple[str, ...]
    converts: tuple[Convert | None, ...]
    picks: tuple[str, ...]
    rows: str


def _write_postgres(model: type[models.Model], columns: tuple[str, ...], rows: list[Row], ending: str) -> None:
    plan = _postgres_plan(model, columns)
    into = ", ".join(_quoted(column) for column in columns)
    table = _quoted(model._meta.db_table)
    statement = f"INSERT INTO {table} ({into}) SELECT {', '.join(plan.picks)} FROM {plan.rows}{ending}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [_as_json(plan, rows)])


@cache
def _postgres_plan(model: type[models.Model], columns: tuple[str, ...]) -> _Plan:
    types, picks = [], []
    converts: list[Convert | None] = []
    names = tuple(f"c{place}" for place in range(len(columns)))
    for name, column in zip(names, columns, strict=True):
        field = _field(model, column)
        if isinstance(field, BytesField):
            types.append(f"{name} text")
            picks.append(f"decode(r.{name}, 'hex')")
            converts.append(bytes.hex)
        else:
            types.append(f"{name} {field.db_type(connection)}")
            picks.append(f"r.{name}")
            converts.append(None)
    return _Plan(names, tuple(converts), tuple(picks), f"json_to_recordset(%s::json) AS r({', '.join(types)})")


def _as_json(plan: _Plan, rows: list[Row]) -> str:
    converted = [
        {
            name: convert(value) if convert is not None and value is not None else value
            for name, convert, value in zip(plan.names, plan.converts, row, strict=True)
        }
        for row in rows
    ]
    return orjson.dumps(converted).decode()


def _write_sqlite(model: type[models.Model], columns: tuple[str, ...], rows: list[Row], ending: str) -> None:
    into = ", ".join(_quoted(column) for column in columns)
    marks = ", ".join(["%s"] * len(columns))
    is_json = [isinstance(_field(model, column), models.JSONField) for column in columns]
    statement = f"INSERT INTO {_quoted(model._meta.db_table)} ({into}) VALUES ({marks})"  # noqa: S608 as above
    adapted = [
        tuple(
            orjson.dumps(value).decode() if json and value is not None else _adapted(value)
            for json, value in zip(is_json, row, strict=True)
        )
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement + ending, adapted)


def _adapted(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def _field(model: type[models.Model], column: str) -> "models.Field[Any, Any]":
    field = model._meta.get_field(column)
    assert isinstance(field, models.Field)  # noqa: S101 relations have no place in projections
    return field


def _quoted(name: str) -> str:
    return f'"{name}"'
