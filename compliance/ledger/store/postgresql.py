"""The append on PostgreSQL: packed binary arrays (`packed.py`) and binary COPY."""

import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections
from psycopg.types.numeric import Int8BinaryLoader

from compliance.ledger.store.base import BEFORE_FIRST_ENTRY, Begin, ChainHead, EntryRows, KnownEvent
from compliance.ledger.store.packed import (
    POSTGRES_EPOCH,
    ByteaArray,
    Int4Array,
    KeyArray,
    microseconds,
    pack_length,
    preparing_cursor,
    server_cursor,
)
from compliance.proof.times import format_time

# F34: no target of the conflict. The same batch sent twice at once meets itself under its id as well as its payload.
_CLAIM_BATCH: Final = (
    "INSERT INTO ledger_batch (id, payload_sha256, envelope, event_hashes) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT DO NOTHING"
)
_ADD_HEADS: Final = (
    "INSERT INTO ledger_head (subject, seq, hash, memory, recorded_at) "
    "SELECT u.key, u.seq, u.hash, u.memory, %s FROM unnest(%s, %s, %s, %s) u(key, seq, hash, memory) "
    "ON CONFLICT DO NOTHING"
)
_WITHOUT_ENTRIES: Final = (
    "SELECT u.key FROM unnest(%s) u(key) "
    "WHERE NOT EXISTS (SELECT 1 FROM ledger_head h WHERE h.subject = u.key AND h.seq >= 0)"
)
_LOCK_HEADS: Final = (
    "SELECT subject, seq, hash, memory, recorded_at FROM ledger_head WHERE subject = ANY(%s) "
    "ORDER BY subject FOR UPDATE"
)
_KNOWN_EVENTS: Final = "SELECT key, event_hash, subject, seq FROM ledger_event_key WHERE key = ANY(%s)"
_COPY_EVENT_KEYS: Final = "COPY ledger_event_key (key, event_hash, subject, seq) FROM STDIN (FORMAT binary)"
COPY_COLUMNS: Final = 'recorded_at, batch, "index", seq, subject, hash, prev, body'
_COPY_ENTRIES: Final = f"COPY ledger_entry ({COPY_COLUMNS}) FROM STDIN (FORMAT binary)"
_MOVE_HEADS: Final = (
    "UPDATE ledger_head h SET seq = u.seq, hash = u.hash, memory = u.memory, recorded_at = %s "
    "FROM unnest(%s, %s, %s, %s) u(key, seq, hash, memory) WHERE h.subject = u.key"
)

_QUEUE: Final = "INSERT INTO ledger_pending (batch, recorded_at) VALUES (%s, %s)"
_INSERT_RECEIPT: Final = "INSERT INTO ledger_receipt (batch, first, envelope) VALUES (%s, %s, %s)"

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER: Final = b"\xff\xff"
_COLUMNS: Final = 8
_pack_event_key = struct.Struct("!hi16si32si16sii").pack  # columns; key, event hash, subject, seq after their lengths
_pack_row = struct.Struct("!iiiii16si32si").pack  # index, seq, subject, hash (each after its length), length of prev


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
        with preparing_cursor(self._wrapper) as opened:
            opened.adapters.register_loader("timestamptz", Int8BinaryLoader)
            opened.execute(statement, parameters)
            return opened.fetchall()

    def pages(self, statement: str, *, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """By a cursor of the server's, inside the caller's transaction."""
        with server_cursor("ledger_pages", self._wrapper) as opened:
            opened.execute(statement, binary=True)
            while rows := opened.fetchmany(size):
                yield rows

    def time_column(self, column: str) -> str:
        """The binary form is the stored one."""
        return column

    def stored_time(self, moment: datetime) -> object:
        """Microseconds since 2000."""
        return microseconds(moment)

    def time_text(self, stored: object) -> str:
        """Microseconds since 2000 as text."""
        if not isinstance(stored, int):
            raise TypeError(f"{stored!r} is no time")
        try:
            return format_time(POSTGRES_EPOCH + timedelta(microseconds=stored))
        except OverflowError as error:
            raise ValueError(f"{stored} is no time of our calendar") from error

    def any_of(self, column: str, items: Sequence[bytes]) -> tuple[str, list[object]]:
        """One packed array."""
        return f"{column} = ANY(%s)", [KeyArray(items)]

    def claim_batch(self, *, batch_id: bytes, payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> bool:
        """Waits for another transaction that inserts the same payload, then sees its row."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_CLAIM_BATCH, (batch_id, payload_sha256, envelope, event_hashes))
            return opened.rowcount == 1

    def without_entries(self, keys: Sequence[bytes]) -> set[bytes]:
        """By primary key."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_WITHOUT_ENTRIES, (KeyArray(keys),))
            return {key for (key,) in opened.fetchall()}

    def lock_heads(self, keys: Sequence[bytes]) -> tuple[dict[bytes, ChainHead], datetime]:
        """One statement."""
        with preparing_cursor(self._wrapper) as opened:
            opened.adapters.register_loader("timestamptz", Int8BinaryLoader)
            opened.execute(_LOCK_HEADS, (KeyArray(keys),))
            rows = opened.fetchall()
        newest = max((row[4] for row in rows), default=microseconds(BEFORE_FIRST_ENTRY))
        return {row[0]: ChainHead(*row[:4]) for row in rows}, POSTGRES_EPOCH + timedelta(microseconds=newest)

    def add_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> bool:
        """In the order of their keys: two batches on crossing new chains wait for each other at most one way."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_ADD_HEADS, (recorded_at, *_arrays_of(heads)))
            return opened.rowcount == len(heads)

    def known_events(self, keys: Sequence[bytes]) -> dict[bytes, KnownEvent]:
        """By primary key."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_KNOWN_EVENTS, (KeyArray(keys),))
            return {key: KnownEvent(event_hash, subject, seq) for key, event_hash, subject, seq in opened.fetchall()}

    def claim_event_keys(
        self, *, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> bool:
        """By COPY, which waits for another transaction that inserts one of the keys, and fails if that commits."""
        try:
            with preparing_cursor(self._wrapper) as opened, opened.copy(_COPY_EVENT_KEYS) as copy:
                copy.write(_encode_event_keys(keys, event_hashes, subjects, seqs))
        except IntegrityError:
            return False
        return True

    def insert_entries(self, rows: EntryRows) -> None:
        """One binary COPY."""
        with preparing_cursor(self._wrapper) as opened, opened.copy(_COPY_ENTRIES) as copy:
            copy.write(encode_copy(rows))

    def move_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> None:
        """One UPDATE from packed arrays."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_MOVE_HEADS, (recorded_at, *_arrays_of(heads)))
            if opened.rowcount != len(heads):
                raise RuntimeError(f"{len(heads)} heads were locked, {opened.rowcount} moved")

    def queue(self, batch: bytes, recorded_at: datetime) -> None:
        """One row."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_QUEUE, (batch, recorded_at))

    def insert_receipt(self, batch: bytes, first: int, envelope: bytes) -> None:
        """As bytes: half a megabyte written as SQL text costs more than the entries."""
        with preparing_cursor(self._wrapper) as opened:
            opened.execute(_INSERT_RECEIPT, (batch, first, envelope))


def _arrays_of(heads: Sequence[ChainHead]) -> tuple[KeyArray, Int4Array, KeyArray, ByteaArray]:
    return (
        KeyArray([head.key for head in heads]),
        Int4Array([head.seq for head in heads]),
        KeyArray([head.hash for head in heads]),
        ByteaArray([head.memory for head in heads]),
    )


def _encode_event_keys(
    keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
) -> bytes:
    rows = [
        _pack_event_key(4, 16, key, 32, event_hash, 16, subject, 4, seq)
        for key, event_hash, subject, seq in zip(keys, event_hashes, subjects, seqs, strict=True)
    ]
    return b"".join((_COPY_HEADER, *rows, _COPY_TRAILER))


def encode_copy(rows: EntryRows) -> bytes:
    """`rows` in the binary format of COPY, columns as in `COPY_COLUMNS`."""
    constant = b"".join(
        (
            struct.pack("!h", _COLUMNS),
            struct.pack("!iq", 8, microseconds(rows.recorded_at)),
            struct.pack("!i", len(rows.batch)),
            rows.batch,
        )
    )
    parts = [_COPY_HEADER]
    columns = zip(rows.indexes, rows.seqs, rows.subjects, rows.hashes, rows.prevs, rows.bodies, strict=True)
    for index, seq, subject, hash_, prev, body in columns:
        if prev is None:
            parts += (constant, _pack_row(4, index, 4, seq, 16, subject, 32, hash_, -1), pack_length(len(body)), body)
        else:
            parts += (
                constant,
                _pack_row(4, index, 4, seq, 16, subject, 32, hash_, 32),
                prev,
                pack_length(len(body)),
                body,
            )
    parts.append(_COPY_TRAILER)
    return b"".join(parts)
