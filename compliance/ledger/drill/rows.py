"""Rows of the ledger's tables edited, deleted, added and swapped, one column or row at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import IntegrityError, connection, models, transaction

from compliance.ledger.drill.trial import RefusedByDatabase, Trial
from compliance.ledger.models import (
    INSERT_ONLY,
    Anchoring,
    Batch,
    Checkpoint,
    Entry,
    EventKey,
    Head,
    LeafRange,
    LogState,
    Pending,
    Receipt,
    TimeToken,
)

OF_ITS_ROOM: Final = "ledger_head.memory"  # compared by the room whose chain it is
TABLES: Final[tuple[type[models.Model], ...]] = (*INSERT_ONLY, Head, LogState, Pending, Anchoring)


def trials(model: type[models.Model]) -> Iterator[Trial]:
    """Everything that can be done to single rows of a table."""
    yield from edits(model)
    yield from deletions(model)
    yield from insertions(model)
    yield from swaps(model)


def edits(model: type[models.Model]) -> Iterator[Trial]:
    """Another value in each column."""
    for row in sample(model):
        for column in model._meta.concrete_fields:
            yield Trial(
                "edit",
                f"{model._meta.db_table}.{column.column}",
                f"{model.__name__}.{column.name} edited in {name_of(row)}",
                partial(write, row, str(column.column), changed(getattr(row, column.name))),
                _names(row),
                everywhere=f"{model._meta.db_table}.{column.column}" == OF_ITS_ROOM,
            )


def deletions(model: type[models.Model]) -> Iterator[Trial]:
    """Each sampled row gone. Of a batch without entries only its sender's receipt can tell when both rows are gone;
    either alone is found."""
    for row in sample(model):
        yield Trial(
            "delete",
            model._meta.db_table,
            f"{name_of(row)} deleted",
            model._default_manager.filter(pk=row.pk).delete,
            _names(row),
        )


def insertions(model: type[models.Model]) -> Iterator[Trial]:
    """A copy of each sampled row under another key. Of some tables the database keeps it to one."""
    for row in sample(model):
        copy = model(**{field.name: getattr(row, field.name) for field in model._meta.concrete_fields})
        for name in {field.name for field in model._meta.pk_fields} | {
            field.name for field in model._meta.concrete_fields if field.unique and field.name != "pk"
        }:
            setattr(copy, name, changed(getattr(row, name)))
        yield Trial(
            "insert",
            model._meta.db_table,
            f"a forged {model.__name__}",
            partial(add, copy),
            (*_names(copy), *_names(row)),
        )


def swaps(model: type[models.Model]) -> Iterator[Trial]:
    """The values of one column exchanged between the first and the last row, keys included."""
    rows = sample(model)
    if len(rows) < 2:
        return
    first, second = rows[0], rows[-1]
    for column in model._meta.concrete_fields:
        if getattr(first, column.name) != getattr(second, column.name):
            yield Trial(
                "swap",
                f"{model._meta.db_table}.{column.column}",
                f"{model.__name__}.{column.name} swapped",
                partial(swap, first, second, column),
                (*_names(first), *_names(second)),
            )


def swap(first: models.Model, second: models.Model, column: Any) -> None:
    """Exchange the values of `column`. Raises RefusedByDatabase when an index does not let it happen."""
    model = type(first)
    mine, theirs = getattr(first, column.name), getattr(second, column.name)
    if column.unique or column.name in {field.name for field in model._meta.pk_fields}:
        write(first, str(column.column), changed(theirs))  # out of the way of the unique index
        moved = model._default_manager.get(
            **{
                field.name: getattr(first, field.name) if field.name != column.name else changed(theirs)
                for field in model._meta.pk_fields
            }
        )
        write(second, str(column.column), mine)
        write(moved, str(column.column), theirs)
    else:
        write(first, str(column.column), theirs)
        write(second, str(column.column), mine)


def add(row: models.Model) -> None:
    """INSERT `row`. Raises RefusedByDatabase when the table may have no more."""
    with _or_refused():
        row.save(force_insert=True)


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    if isinstance(value, datetime):
        return value + timedelta(seconds=1)
    if isinstance(value, int):
        return value + 1_000
    if isinstance(value, str):
        return value[:-3] + ("A" if value[-3] != "A" else "B") + value[-2:]
    return b"\x01" * 32  # prev of a first entry


def name_of(row: models.Model) -> str:
    """How fsck names the row."""
    match row:
        case Entry():
            return f"entry {row.subject.hex()}/{row.seq}"
        case Batch():
            return row.id.hex()
        case EventKey():
            return f"{row.subject.hex()}/{row.seq}"
        case Receipt() | Pending():
            return row.batch.hex()
        case LeafRange():
            return f"leaf_range {row.first_index}"
        case Checkpoint():
            return f"checkpoint {row.size}"
        case TimeToken():
            return f"time_token {row.number}"
        case Anchoring():
            return "time_token "
        case Head():
            return f"{row.subject.hex()}"
        case _:
            return "log_state"


def also_named(row: models.Model) -> list[str]:
    """Other names of the same thing: the batch of an entry, the chain of a head."""
    match row:
        case EventKey():
            return [row.key.hex()]
        case LeafRange():
            return [row.batch.hex(), f"(leaf {row.first_index})"]
        case Entry():
            return [f"{row.subject.hex()}/{row.seq + 1}", f"(batch {row.batch.hex()[:16]}, index {row.index})"]
        case Pending():
            return [f"entry {entry.subject.hex()}/{entry.seq}" for entry in Entry.objects.filter(batch=row.batch)]
        case Receipt():
            return [row.batch.hex()]
        case Checkpoint():
            return ["one before it is missing", f"checkpoint {changed(row.size)}"]
        case TimeToken():
            return [f"time_token {row.number + 1}"]
        case _:
            return []


def sample(model: type[models.Model]) -> list[Any]:
    """First, middle and last row, in the order of the key."""
    rows = model._default_manager.order_by("pk")
    count = rows.count()
    return [rows[position] for position in sorted({0, count // 2, count - 1})] if count else []


def write(row: models.Model, column: str, value: Any) -> None:
    """UPDATE one column of one row, past the ORM's opinion of keys. Raises RefusedByDatabase."""
    quote = connection.ops.quote_name
    fields = row._meta.pk_fields
    where = " AND ".join(f"{quote(str(field.column))} = %s" for field in fields)
    with _or_refused(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(row._meta.db_table)} SET {quote(column)} = %s WHERE {where}",  # noqa: S608
            [_adapted(value), *(_adapted(getattr(row, field.name)) for field in fields)],
        )
        if cursor.rowcount != 1:
            raise RuntimeError(f"{cursor.rowcount} rows instead of one were changed in {row._meta.db_table}")


@contextmanager
def _or_refused() -> Iterator[None]:
    """An index or a constraint of the table may say no, and the transaction goes on."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise RefusedByDatabase(str(error)) from error


def _adapted(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def _names(row: models.Model) -> tuple[str, ...]:
    return (name_of(row), *also_named(row))
