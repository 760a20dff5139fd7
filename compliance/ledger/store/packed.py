"""Columns of many rows as PostgreSQL's binary arrays, on a psycopg cursor of our own.

Django's cursors bind on the client and never prepare, so that an array of a thousand hashes becomes SQL text. Here
the bytes go out as PostgreSQL stores them. What that saves: docs/developers/measurements.md.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from weakref import WeakSet

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq
from psycopg.adapt import Buffer, Dumper, Loader

POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
PREPARE_AFTER: Final = 2  # uses of a statement: what comes once is not worth a plan that is kept
_TICK: Final = timedelta(microseconds=1)
_NULL: Final = struct.pack("!i", -1)
_KNOWN_LENGTHS: Final = 2_048  # prefixes made beforehand; longer items are rare, and pack their own

pack_length = struct.Struct("!i").pack
_length_prefixes: Final = [pack_length(length) for length in range(_KNOWN_LENGTHS)]


def microseconds(moment: datetime) -> int:
    """A timestamptz as PostgreSQL keeps it."""
    return (moment - POSTGRES_EPOCH) // _TICK


class PackedArray:
    """A one-dimensional array in PostgreSQL's binary form. Subclasses say of what."""

    __slots__ = ("data",)
    data: bytes


class ByteaArray(PackedArray):
    """bytea[] of any lengths, None for NULL."""

    def __init__(self, items: Sequence[bytes | None]) -> None:
        self.data = _array(_BYTEA, items)


class KeyArray(PackedArray):
    """bytea[] whose elements all have one length, none NULL: keys and hashes."""

    def __init__(self, items: Sequence[bytes]) -> None:
        length = pack_length(len(items[0])) if items else b""
        self.data = _header(_BYTEA, len(items), False) + length + length.join(items)


class TextArray(PackedArray):
    """text[], None for NULL."""

    def __init__(self, items: Sequence[str | None]) -> None:
        self.data = _array(_TEXT, [None if item is None else item.encode() for item in items])


class Int4Array(PackedArray):
    """int4[], None for NULL."""

    def __init__(self, items: Sequence[int | None]) -> None:
        if None in items:
            self.data = _array(_INT4, [None if item is None else pack_length(item) for item in items])
            return
        flat: list[Any] = [4] * (2 * len(items))
        flat[1::2] = items
        self.data = _header(_INT4, len(items), False) + struct.pack(f"!{len(flat)}i", *flat)


class BooleanArray(PackedArray):
    """boolean[], None for NULL."""

    def __init__(self, items: Sequence[bool | None]) -> None:
        self.data = _array(_BOOLEAN, [None if item is None else (b"\x01" if item else b"\x00") for item in items])


class MomentArray(PackedArray):
    """timestamptz[], None for NULL."""

    def __init__(self, items: Sequence[datetime | None]) -> None:
        pack = struct.Struct("!q").pack
        self.data = _array(_TIMESTAMPTZ, [None if item is None else pack(microseconds(item)) for item in items])


@contextmanager
def cursor(wrapper: BaseDatabaseWrapper | None = None) -> Iterator[psycopg.Cursor[Any]]:
    """A plain psycopg cursor inside Django's transaction, binary both ways; its errors come out as Django's.

    For tables that no organisation owns: its statements carry no row scope (`jobs.row_scope`).
    `wrapper` is Django's connection, if it is not that of this thread.
    """
    wrapper, plain = _connected(wrapper)
    with wrapper.wrap_database_errors, _UnpreparedCursor(plain) as opened:
        opened.format = pq.Format.BINARY
        yield opened


class _UnpreparedCursor(psycopg.Cursor[Any]):
    """Never prepares, however often a statement comes."""

    def execute(self, *args: Any, **options: Any) -> Self:
        """As psycopg's."""
        return super().execute(*args, **{**options, "prepare": False})


@contextmanager
def server_cursor(name: str, wrapper: BaseDatabaseWrapper | None = None) -> Iterator[psycopg.ServerCursor[Any]]:
    """As `cursor`, for more rows than fit into memory; one of each name at a time."""
    wrapper, plain = _connected(wrapper)
    with wrapper.wrap_database_errors, psycopg.ServerCursor(plain, name) as opened:
        yield opened


@contextmanager
def preparing_cursor(wrapper: BaseDatabaseWrapper | None = None) -> Iterator[psycopg.Cursor[Any]]:
    """As `cursor`, for statements that are prepared once a connection.

    Not for projections: a prepared statement stays with the table it was planned for, also when `manage.py fsck` hides
    that behind a temporary one of the same name.
    """
    wrapper, plain = _connected(wrapper)
    with wrapper.wrap_database_errors, psycopg.Cursor(plain) as opened:
        opened.format = pq.Format.BINARY
        yield opened


def _connected(wrapper: BaseDatabaseWrapper | None) -> "tuple[BaseDatabaseWrapper, psycopg.Connection[Any]]":
    wrapper = wrapper or connections[DEFAULT_DB_ALIAS]
    wrapper.ensure_connection()
    plain = wrapper.connection
    if plain not in _adapted:
        _adapt(plain)
    return wrapper, plain


def _header(element: int, length: int, nulls: bool) -> bytes:
    return struct.pack("!iiiii", 1, int(nulls), element, length, 1)


def _array(element: int, items: Sequence[bytes | None]) -> bytes:
    nulls = None in items
    parts: list[bytes] = [b""] * (2 * len(items))
    if nulls:
        parts[::2] = [_NULL if item is None else pack_length(len(item)) for item in items]
        parts[1::2] = [item or b"" for item in items]
    else:
        lengths = list(map(len, items))  # type: ignore[arg-type]
        if max(lengths, default=0) < _KNOWN_LENGTHS:
            parts[::2] = map(_length_prefixes.__getitem__, lengths)
        else:
            parts[::2] = map(pack_length, lengths)
        parts[1::2] = items  # type: ignore[assignment]
    return _header(element, len(items), nulls) + b"".join(parts)


_BOOLEAN, _BYTEA, _INT4, _TEXT, _TIMESTAMPTZ = 16, 17, 23, 25, 1184  # oids of pg_type


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        """Packed already."""
        data: bytes = obj.data
        return data


def _dumper(array_oid: int) -> type[Dumper]:
    return type("PackedArrayDumper", (_ArrayDumper,), {"oid": array_oid})


_DUMPERS: Final = (
    (ByteaArray, _dumper(1001)),
    (KeyArray, _dumper(1001)),
    (TextArray, _dumper(1009)),
    (Int4Array, _dumper(1007)),
    (BooleanArray, _dumper(1000)),
    (MomentArray, _dumper(1185)),
)


_adapted: "WeakSet[psycopg.Connection[Any]]" = WeakSet()


def _adapt(plain: "psycopg.Connection[Any]") -> None:
    """Teach the connection our types, once: for each cursor anew it would cost as much as a statement.

    From then on it prepares, but for cursors that do not: Django's, which bind on the client, and `_UnpreparedCursor`.
    A cursor that switched this on and off again for itself would meet another thread's on the same connection.
    """
    plain.prepare_threshold = PREPARE_AFTER
    for array, dumper in _DUMPERS:
        plain.adapters.register_dumper(array, dumper)
    plain.adapters.register_loader("timestamptz", _MomentLoader)
    _adapted.add(plain)


class _MomentLoader(Loader):
    """timestamptz as UTC whatever time zone the connection is set to."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        """Microseconds since 2000, big-endian."""
        return POSTGRES_EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
