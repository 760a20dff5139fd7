"""Changing projections behind the product's back, column by column, and asking the comparison of fsck each time."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models, transaction

from compliance.custody import rebuild


def found_in_every_column(tables: Sequence[type[models.Model]]) -> int:
    """Edit each column of a row of each table, remove the row, and add another; assert that each is found and named.

    Returns how many changes that were.
    """
    tried = 0
    rows = {table: table._default_manager.order_by("pk").first() for table in tables}
    with rebuild.replayed() as differences:
        assert differences() == []
        for table, row in rows.items():
            assert row is not None, f"the history fills no {table._meta.db_table}"
            for what, statement, values in _changes(table, row):
                point = transaction.savepoint()
                with connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    assert cursor.rowcount == 1, what
                problems = differences()
                transaction.savepoint_rollback(point)
                assert problems, f"{what} was not found"
                assert {problem.place.split()[0] for problem in problems} == {table._meta.db_table}, (what, problems)
                assert {problem.code for problem in problems} == {"projection.differs"}
                tried += 1
    return tried


def _changes(table: type[models.Model], row: models.Model) -> list[tuple[str, str, list[Any]]]:
    """Description, statement and parameters of each change. The real tables are named with their schema: inside a
    replay the bare names are the tables made beside them."""
    schema = "main" if connection.vendor == "sqlite" else "public"
    name, key = f'"{schema}"."{table._meta.db_table}"', table._meta.pk
    assert key is not None
    fields = [part for part in table._meta.concrete_fields if not isinstance(part, models.AutoField)]
    where, place = f'WHERE "{key.column}" = %s', [row.pk]
    changes: list[tuple[str, str, list[Any]]] = [
        (
            f"{table.__name__}.{part.name} edited",
            f'UPDATE {name} SET "{part.column}" = %s {where}',  # noqa: S608 (names of our own tables)
            [_stored(part, changed(getattr(row, part.attname))), *place],
        )
        for part in fields
    ]
    changes.append((f"{table.__name__} deleted", f"DELETE FROM {name} {where}", list(place)))  # noqa: S608
    columns = ", ".join(f'"{part.column}"' for part in fields)
    marks = ", ".join("%s" for _ in fields)
    copied = [_stored(part, changed(getattr(row, part.attname))) for part in fields]
    changes.append((f"{table.__name__} inserted", f"INSERT INTO {name} ({columns}) VALUES ({marks})", copied))  # noqa: S608
    return changes


def changed(value: Any) -> Any:
    """Another value that fits the column."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1_000
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case str():
            return value[:-1] + ("y" if value.endswith("x") else "x")
        case datetime():
            return value + timedelta(microseconds=1)
        case list() | dict():
            return [*value, "thief"]
        case _:
            return None


def _stored(part: Any, value: Any) -> Any:
    """The value as the database takes it; where nothing stood, something now stands."""
    if isinstance(part, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value(value or datetime.fromisoformat("2026-01-01T00:00:00Z"))
    if isinstance(part, models.JSONField):
        return json.dumps(value or ["thief"])
    return 7 if value is None else value
