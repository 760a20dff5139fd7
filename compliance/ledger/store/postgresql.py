"""The append on PostgreSQL: packed binary arrays and binary COPY on a psycopg cursor of our own.

Django's cursors bind on the client and never prepare, so that an array of a thousand hashes becomes SQL text. Here
the bytes go out as PostgreSQL stores them; what that saves, and why claiming new heads comes before any row lock, is
measured in docs/ledger.md.
"""

import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.numeric import Int8BinaryLoader

from compliance.ledger.store.base import BEFORE_FIRST_ENTRY, Begin, ChainHead, EntryRows, KnownEvent
from compliance.proof.times import format_time

_BYTEA: Final = 17
_BYTEA_ARRAY: Final = 1001
_INT4: Final = 23
_INT4_ARRAY: Final = 1007
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

_CLAIM_BATCH: Final = (
    "INSERT INTO ledger_batch (id, payload_sha256, envelope, event_hashes) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (payload_sha256) DO NOTHING"
)
_CLAIM_HEADS: Final = (
    "INSERT INTO ledger_head (subject, seq, hash, recorded_at) "
    "SELECT u.key, -1, ''::bytea, %s FROM unnest(%s) u(key) "
    "WHERE NOT EXISTS (SELECT 1 FROM ledger_head h WHERE h.subject = u.key) ORDER BY u.key ON CONFLICT DO NOTHING"
)
_LOCK_HEADS: Final = (
    "SELECT subject, seq, hash, recorded_at FROM ledger_head WHERE subject = ANY(%s) ORDER BY subject FOR UPDATE"
)
_KNOWN_EVENTS: Final = "SELECT key, event_hash, subject, seq FROM ledger_event_key WHERE key = ANY(%s)"
# OFFSET 0 keeps the planner from reading the whole table for a thousand keys, as it does up to some million rows.
_COUNT_KNOWN: Final = (
    "SELECT count(*) FROM unnest(%s, %s, %s, %s) u(key, event_hash, subject, seq) CROSS JOIN LATERAL ("
    "SELECT 1 FROM ledger_event_key k WHERE k.key = u.key "
    "AND k.event_hash = u.event_hash AND k.subject = u.subject AND k.seq = u.seq OFFSET 0) found"
)
_CLAIM_EVENT_KEYS: Final = (
    "INSERT INTO ledger_event_key (key, event_hash, subject, seq) "
    "SELECT * FROM unnest(%s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
COPY_COLUMNS: Final = 'recorded_at, batch, "index", seq, subject, hash, prev, body'
_COPY_ENTRIES: Final = f"COPY ledger_entry ({COPY_COLUMNS}) FROM STDIN (FORMAT binary)"
_MOVE_HEADS: Final = (
    "UPDATE ledger_head h SET seq = u.seq, hash = u.hash, recorded_at = %s "
    "FROM unnest(%s, %s, %s) u(key, seq, hash) WHERE h.subject = u.key"
)

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER: Final = b"\xff\xff"
_COLUMNS: Final = 8
_pack_row = struct.Struct("!iiiii16si32si").pack  # index, seq, subject, hash (each after its length), length of prev
_pack_length = struct.Struct("!i").pack


class PostgresStore:
    """See `Store`."""

    def __init__(self) -> None:
        self._wrapper = connections[DEFAULT_DB_ALIAS]  # of this thread, also when asked from the one beside it

    @contextmanager
    def background(self) -> Iterator[Begin]:
        """In a thread on the same connection, which psycopg lets one statement after the other use."""
        with ThreadPoolExecutor(1, thread_name_prefix="ledger-reader") as executor:
            yield executor.submit

    def select(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """In binary: bytes as hexadecimal text would be twice as many. Times stay the integers they are stored as."""
        with _cursor(self._wrapper) as cursor:
            cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def time_column(self, column: str) -> str:
        """The binary form is the stored one."""
        return column

    def stored_time(self, moment: datetime) -> object:
        """Microseconds since 2000."""
        return (moment - _POSTGRES_EPOCH) // timedelta(microseconds=1)

    def time_text(self, stored: object) -> str:
        """Microseconds since 2000 as text."""
        if not isinstance(stored, int):
            raise TypeError(f"{stored!r} is no time")
        try:
            return format_time(_POSTGRES_EPOCH + timedelta(microseconds=stored))
        except OverflowError as error:
            raise ValueError(f"{stored} is no time of our calendar") from error

    def any_of(self, column: str, items: Sequence[bytes]) -> tuple[str, list[object]]:
        """One packed array."""
        return f"{column} = ANY(%s)", [_ByteaArray(items)]

    def claim_batch(self, *, batch_id: bytes, payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> bool:
        """Waits for another transaction that inserts the same payload, then sees its row."""
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_CLAIM_BATCH, (batch_id, payload_sha256, envelope, event_hashes), prepare=True)
            return cursor.rowcount == 1

    def lock_heads(self, keys: Sequence[bytes]) -> list[ChainHead]:
        """New heads first: made last, with final values, two batches on crossing new subjects deadlock."""
        packed = _ByteaArray(keys)
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_CLAIM_HEADS, (BEFORE_FIRST_ENTRY, packed), prepare=True)
            cursor.execute(_LOCK_HEADS, (packed,), prepare=True)
            return [ChainHead(*row) for row in cursor.fetchall()]

    def known_events(self, keys: Sequence[bytes]) -> dict[bytes, KnownEvent]:
        """By primary key."""
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_KNOWN_EVENTS, (_ByteaArray(keys),), prepare=True)
            return {key: KnownEvent(event_hash, subject, seq) for key, event_hash, subject, seq in cursor.fetchall()}

    def count_known(
        self, *, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> int:
        """By primary key, without bringing the rows here."""
        packed = (_ByteaArray(keys), _ByteaArray(event_hashes), _ByteaArray(subjects), _Int4Array(seqs))
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_COUNT_KNOWN, packed, prepare=True)
            count: int = cursor.fetchall()[0][0]
        return count

    def claim_event_keys(
        self, *, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> bool:
        """Waits for another transaction that inserts one of the keys."""
        packed = (_ByteaArray(keys), _ByteaArray(event_hashes), _ByteaArray(subjects), _Int4Array(seqs))
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_CLAIM_EVENT_KEYS, packed, prepare=True)
            return cursor.rowcount == len(keys)

    def insert_entries(self, rows: EntryRows) -> None:
        """One binary COPY."""
        with _cursor(self._wrapper) as cursor, cursor.copy(_COPY_ENTRIES) as copy:
            copy.write(encode_copy(rows))

    def move_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> None:
        """One UPDATE from packed arrays."""
        keys = _ByteaArray([head.key for head in heads])
        seqs = _Int4Array([head.seq for head in heads])
        hashes = _ByteaArray([head.hash for head in heads])
        with _cursor(self._wrapper) as cursor:
            cursor.execute(_MOVE_HEADS, (recorded_at, keys, seqs, hashes), prepare=True)
            if cursor.rowcount != len(heads):
                raise RuntimeError(f"{len(heads)} heads were locked, {cursor.rowcount} moved")


def encode_copy(rows: EntryRows) -> bytes:
    """`rows` in the binary format of COPY, columns as in `COPY_COLUMNS`."""
    microseconds = (rows.recorded_at - _POSTGRES_EPOCH) // timedelta(microseconds=1)
    constant = b"".join(
        (
            struct.pack("!h", _COLUMNS),
            struct.pack("!iq", 8, microseconds),
            struct.pack("!i", len(rows.batch)),
            rows.batch,
        )
    )
    parts = [_COPY_HEADER]
    columns = zip(rows.indexes, rows.seqs, rows.subjects, rows.hashes, rows.prevs, rows.bodies, strict=True)
    for index, seq, subject, hash_, prev, body in columns:
        if prev is None:
            parts += (constant, _pack_row(4, index, 4, seq, 16, subject, 32, hash_, -1), _pack_length(len(body)), body)
        else:
            parts += (
                constant,
                _pack_row(4, index, 4, seq, 16, subject, 32, hash_, 32),
                prev,
                _pack_length(len(body)),
                body,
            )
    parts.append(_COPY_TRAILER)
    return b"".join(parts)


class _ByteaArray:
    """A bytea[] in PostgreSQL's binary form. All elements must have one length."""

    __slots__ = ("data",)

    def __init__(self, items: Sequence[bytes]) -> None:
        length = _pack_length(len(items[0])) if items else b""
        self.data = _array_header(_BYTEA, len(items)) + length + length.join(items)


class _Int4Array:
    """An int4[] in PostgreSQL's binary form."""

    __slots__ = ("data",)

    def __init__(self, items: Sequence[int]) -> None:
        flat = [4] * (2 * len(items))
        flat[1::2] = items
        self.data = _array_header(_INT4, len(items)) + struct.pack(f"!{len(flat)}i", *flat)


def _array_header(element: int, length: int) -> bytes:
    return struct.pack("!iiiii", 1, 0, element, length, 1)


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        """Packed already."""
        data: bytes = obj.data
        return data


class _ByteaArrayDumper(_ArrayDumper):
    oid = _BYTEA_ARRAY


class _Int4ArrayDumper(_ArrayDumper):
    oid = _INT4_ARRAY


class _MomentLoader(Loader):
    """timestamptz as UTC whatever time zone the connection is set to."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        """Microseconds since 2000, big-endian."""
        return _POSTGRES_EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))


@contextmanager
def _cursor(wrapper: BaseDatabaseWrapper) -> Iterator[psycopg.Cursor[Any]]:
    """A plain psycopg cursor inside Django's transaction; its errors come out as Django's."""
    wrapper.ensure_connection()
    with wrapper.wrap_database_errors, psycopg.Cursor(wrapper.connection) as cursor:
        cursor.format = pq.Format.BINARY
        cursor.adapters.register_dumper(_ByteaArray, _ByteaArrayDumper)
        cursor.adapters.register_dumper(_Int4Array, _Int4ArrayDumper)
        cursor.adapters.register_loader("timestamptz", _MomentLoader)
        yield cursor
