"""Reading and writing many rows of a projection with one statement, on either engine.

PostgreSQL gets each column as one packed array, or as a single value where it is the same in all rows; SQLite runs one
prepared statement a row under its write lock. Both cost a small part of what saving objects one by one would.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection, models

from compliance.ledger.fields import BytesField
from compliance.ledger.store import packed

Row = Sequence[Any]
_ROWS_AT_ONCE = 2_000  # bounds the parameters to a few megabytes
_PARAMETERS = 500  # below SQLITE_MAX_VARIABLE_NUMBER of every build


def fetch(
    model: type[models.Model], columns: Sequence[str], *, key: str, values: Sequence[Any], condition: str = "TRUE"
) -> Iterator[tuple[Any, ...]]:
    """The `columns`, none of them a time or JSON, of the rows whose `key` is one of `values`."""
    listed = ", ".join(_quoted(name) for name in columns)
    statement = f"SELECT {listed} FROM {_quoted(model._meta.db_table)} WHERE {condition} AND {_quoted(key)}"  # noqa: S608
    if connection.vendor == "postgresql":
        array = _kind(model, key).array
        for first in range(0, len(values), _ROWS_AT_ONCE):
            with packed.cursor() as cursor:
                cursor.execute(f"{statement} = ANY(%s)", [array(values[first : first + _ROWS_AT_ONCE])])
                yield from cursor.fetchall()
        return
    for first in range(0, len(values), _PARAMETERS):
        part = list(values[first : first + _PARAMETERS])
        with connection.cursor() as cursor:
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
            sent = _Sent.of(model, columns, part)
            changes = ", ".join(
                f"{_quoted(name)} = {pick}" for name, pick in zip(columns[1:], sent.picks[1:], strict=True)
            )
            table = _quoted(model._meta.db_table)
            statement = f"UPDATE {table} AS t SET {changes} FROM {sent.rows} WHERE t.{_quoted(key)} = {sent.picks[0]}"  # noqa: S608
            with packed.cursor() as cursor:
                cursor.execute(statement, sent.parameters)
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
class _Kind:
    """How the values of a column travel: as an array, and as one value for all rows."""

    array: Callable[[Sequence[Any]], packed.PackedArray]
    type: str
    is_json: bool = False


_KINDS = {
    "bytea": _Kind(packed.ByteaArray, "bytea"),
    "text": _Kind(packed.TextArray, "text"),
    "varchar": _Kind(packed.TextArray, "text"),
    "integer": _Kind(packed.Int4Array, "int4"),
    "smallint": _Kind(packed.Int4Array, "int4"),
    "boolean": _Kind(packed.BooleanArray, "boolean"),
    "timestamp with time zone": _Kind(packed.MomentArray, "timestamptz"),
    "jsonb": _Kind(packed.TextArray, "text", is_json=True),
}


@cache
def _kind(model: type[models.Model], column: str) -> _Kind:
    field = _field(model, column)
    if isinstance(field, BytesField):
        return _KINDS["bytea"]
    return _KINDS[str(field.db_type(connection)).partition("(")[0]]


@dataclass(frozen=True, slots=True)
class _Sent:
    """Rows on their way: an expression for each column, where the rows come from, and the parameters of both."""

    picks: tuple[str, ...]
    rows: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, model: type[models.Model], columns: Sequence[str], rows: Sequence[Row]) -> "_Sent":
        """`rows`, each a value a column; the first column always travels as an array."""
        picks, arrays, parameters = [], [], {}
        for place, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
            kind = _kind(model, column)
            if kind.is_json:
                values = tuple(None if value is None else orjson.dumps(value).decode() for value in values)
            ending = "::jsonb" if kind.is_json else ""
            if place and values.count(values[0]) == len(values):
                picks.append(f"%(c{place})s::{kind.type}{ending}")
                parameters[f"c{place}"] = values[0]
            else:
                picks.append(f"r.c{place}{ending}")
                arrays.append(place)
                parameters[f"c{place}"] = kind.array(values)
        listed = ", ".join(f"%(c{place})s" for place in arrays)
        names = ", ".join(f"c{place}" for place in arrays)
        return cls(tuple(picks), f"unnest({listed}) AS r({names})", parameters)


def _write_postgres(model: type[models.Model], columns: tuple[str, ...], rows: list[Row], ending: str) -> None:
    sent = _Sent.of(model, columns, rows)
    into = ", ".join(_quoted(column) for column in columns)
    table = _quoted(model._meta.db_table)
    statement = f"INSERT INTO {table} ({into}) SELECT {', '.join(sent.picks)} FROM {sent.rows}{ending}"  # noqa: S608
    with packed.cursor() as cursor:
        cursor.execute(statement, sent.parameters)


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
