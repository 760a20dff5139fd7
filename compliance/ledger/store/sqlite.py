"""The append on SQLite. BEGIN IMMEDIATE holds the one write lock, so nothing here can be overtaken."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from django.db import IntegrityError, connection, transaction

from compliance.ledger.store.base import BEFORE_FIRST_ENTRY, Begin, ChainHead, EntryRows, KnownEvent

_PARAMETERS: Final = 500  # below SQLITE_MAX_VARIABLE_NUMBER of every build


class SqliteStore:
    """See `Store`."""

    @contextmanager
    def background(self) -> Iterator[Begin]:
        """At once: there is no server that could work meanwhile."""
        yield _at_once

    def select(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """As Django's connection reads the columns."""
        with connection.cursor() as cursor:
            cursor.execute(statement, list(parameters))  # type: ignore[arg-type]
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def pages(self, statement: str, *, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """As they are asked for: SQLite runs in this process."""
        with connection.cursor() as cursor:
            cursor.execute(statement)
            while rows := cursor.fetchmany(size):
                yield rows

    def time_column(self, column: str) -> str:
        """An expression has no declared type, so Django's connection leaves it as the text it is."""
        return f"CAST({column} AS TEXT)"

    def stored_time(self, moment: datetime) -> object:
        """The text Django writes."""
        return _text(moment)

    def time_text(self, stored: object) -> str:
        """Six digits and Z where SQLite's text has none."""
        if not isinstance(stored, str):
            raise TypeError(f"{stored!r} is no time")
        return f"{stored[:10]}T{stored[11:19]}{stored[19:] or '.000000'}Z"

    def any_of(self, column: str, items: Sequence[bytes]) -> tuple[str, list[object]]:
        """As many parameters as items, so not too many of them."""
        return f"{column} IN ({','.join(['%s'] * len(items))})", list(items)

    def claim_batch(self, *, batch_id: bytes, payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> bool:
        """Look first: under the write lock nobody else can insert between."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM ledger_batch WHERE payload_sha256 = %s", [payload_sha256])
            if cursor.fetchone():
                return False
            cursor.execute(
                "INSERT INTO ledger_batch (id, payload_sha256, envelope, event_hashes) VALUES (%s, %s, %s, %s)",
                [batch_id, payload_sha256, envelope, event_hashes],
            )
        return True

    def without_entries(self, keys: Sequence[bytes]) -> set[bytes]:
        """By primary key."""
        statement = "SELECT subject FROM ledger_head WHERE seq >= 0 AND subject IN"
        return set(keys).difference(key for (key,) in _select_in(statement, keys))

    def lock_heads(self, keys: Sequence[bytes]) -> tuple[dict[bytes, ChainHead], datetime]:
        """The write lock is the lock."""
        rows = list(
            _select_in("SELECT subject, seq, hash, memory, recorded_at FROM ledger_head WHERE subject IN", keys)
        )
        newest = max((_moment(row[4]) for row in rows), default=BEFORE_FIRST_ENTRY)
        return {row[0]: ChainHead(*row[:4]) for row in rows}, newest

    def add_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> bool:
        """Under the write lock nobody else makes one."""
        moment = _text(recorded_at)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO ledger_head (subject, seq, hash, memory, recorded_at) VALUES (%s, %s, %s, %s, %s)",
                [(head.key, head.seq, head.hash, head.memory, moment) for head in heads],
            )
        return True

    def known_events(self, keys: Sequence[bytes]) -> dict[bytes, KnownEvent]:
        """By primary key."""
        rows = _select_in("SELECT key, event_hash, subject, seq FROM ledger_event_key WHERE key IN", keys)
        return {key: KnownEvent(event_hash, subject, seq) for key, event_hash, subject, seq in rows}

    def claim_event_keys(
        self, *, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> bool:
        """The guard against REPLACE also refuses a key that is there."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO ledger_event_key (key, event_hash, subject, seq) VALUES (%s, %s, %s, %s)",
                    list(zip(keys, event_hashes, subjects, seqs, strict=True)),
                )
        except IntegrityError:
            return False
        return True

    def insert_entries(self, rows: EntryRows) -> None:
        """One statement, prepared once."""
        moment = _text(rows.recorded_at)
        columns = zip(rows.subjects, rows.seqs, rows.prevs, rows.hashes, rows.bodies, rows.indexes, strict=True)
        with connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO ledger_entry (subject, seq, prev, hash, body, batch, "index", recorded_at) '
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (subject, seq, prev, hash_, body, rows.batch, index, moment)
                    for subject, seq, prev, hash_, body, index in columns
                ],
            )

    def move_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> None:
        """By primary key."""
        moment = _text(recorded_at)
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE ledger_head SET seq = %s, hash = %s, memory = %s, recorded_at = %s WHERE subject = %s",
                [(head.seq, head.hash, head.memory, moment, head.key) for head in heads],
            )

    def queue(self, batch: bytes, recorded_at: datetime) -> None:
        """One row."""
        with connection.cursor() as cursor:
            statement = "INSERT INTO ledger_pending (batch, recorded_at) VALUES (%s, %s)"
            cursor.execute(statement, [batch, _text(recorded_at)])

    def insert_receipt(self, batch: bytes, first: int, envelope: bytes) -> None:
        """One row."""
        with connection.cursor() as cursor:
            statement = "INSERT INTO ledger_receipt (batch, first, envelope) VALUES (%s, %s, %s)"
            cursor.execute(statement, [batch, first, envelope])


def _at_once(function: Callable[..., Any], *args: Any) -> "Future[Any]":
    done: Future[Any] = Future()
    done.set_result(function(*args))
    return done


def _select_in(statement: str, keys: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        for first in range(0, len(keys), _PARAMETERS):
            part = keys[first : first + _PARAMETERS]
            cursor.execute(f"{statement} ({','.join(['%s'] * len(part))})", part)
            yield from cursor.fetchall()


def _text(moment: datetime) -> str:
    return str(connection.ops.adapt_datetimefield_value(moment))


def _moment(naive: datetime) -> datetime:
    """Django's connection converts the column, without the zone."""
    return naive.replace(tzinfo=UTC)
