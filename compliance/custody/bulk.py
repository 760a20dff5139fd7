"""Writing many rows of a projection with one statement, on either engine.

PostgreSQL gets all rows as one JSON parameter and unpacks them by type; SQLite runs one prepared statement a row
under its write lock. Both cost a small part of what saving objects one by one would.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection, models

from compliance.ledger.fields import BytesField

Row = Sequence[Any]
Convert = Callable[[Any], Any]
_ROWS_AT_ONCE = 2_000  # bounds the parameter to a few megabytes


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


def _write_postgres(model: type[models.Model], columns: tuple[str, ...], rows: list[Row], ending: str) -> None:
    statement, names, converts = _postgres_plan(model, columns)
    converted = [
        dict(zip(names, [c(v) if c and v is not None else v for c, v in zip(converts, row, strict=True)], strict=True))
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement + ending, [orjson.dumps(converted).decode()])


@cache
def _postgres_plan(
    model: type[models.Model], columns: tuple[str, ...]
) -> tuple[str, tuple[str, ...], tuple[Convert | None, ...]]:
    types, picks = [], []
    converts: list[Convert | None] = []
    names = tuple(f"c{place}" for place in range(len(columns)))
    for name, column in zip(names, columns, strict=True):
        field = _field(model, column)
        if isinstance(field, BytesField):
            types.append(f"{name} text")
            picks.append(f"decode(r.{name}, 'hex')")
            converts.append(bytes.hex)
        elif isinstance(field, models.JSONField):
            types.append(f"{name} jsonb")
            picks.append(f"r.{name}")
            converts.append(None)
        else:
            types.append(f"{name} {field.db_type(connection)}")
            picks.append(f"r.{name}")
            converts.append(datetime.isoformat if isinstance(field, models.DateTimeField) else None)
    into = ", ".join(_quoted(column) for column in columns)
    statement = (
        f"INSERT INTO {_quoted(model._meta.db_table)} ({into}) "  # noqa: S608 names come from the models
        f"SELECT {', '.join(picks)} FROM json_to_recordset(%s::json) AS r({', '.join(types)})"
    )
    return statement, names, tuple(converts)


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
