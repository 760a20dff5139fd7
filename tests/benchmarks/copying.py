"""The yardstick of ingest: a binary COPY of the same stored rows, buffers ready, one commit a batch, into a table with
the same partitions and indexes. PostgreSQL takes rows no faster than that.
"""

import time
from collections.abc import Sequence

import psycopg
from psycopg import sql

TWIN = "entry_twin"


def copy_seconds(database_url: str, batch_ids: Sequence[str]) -> float:
    """Seconds to COPY the entries of `batch_ids` into a twin of their table."""
    with psycopg.connect(database_url) as connection:
        buffers = [_stored_rows(connection, batch_id) for batch_id in batch_ids]
        _create_twin(connection)
        connection.commit()
        statement = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(TWIN))
        started = time.perf_counter()
        for buffer in buffers:
            with connection.cursor().copy(statement) as copy:
                copy.write(buffer)
            connection.commit()
        seconds = time.perf_counter() - started
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(TWIN)))
        return seconds


def _stored_rows(connection: psycopg.Connection, batch_id: str) -> bytes:
    query = sql.SQL("COPY (SELECT * FROM ledger_entry WHERE batch = {}) TO STDOUT (FORMAT BINARY)")
    with connection.cursor().copy(query.format(sql.Literal(bytes.fromhex(batch_id)))) as copy:
        return b"".join(bytes(part) for part in copy)


def _create_twin(connection: psycopg.Connection) -> None:
    counted = connection.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger_entry'::regclass")
    (partitions,) = counted.fetchone() or (0,)
    create = "CREATE TABLE {} (LIKE ledger_entry INCLUDING ALL) PARTITION BY HASH (subject)"
    connection.execute(sql.SQL(create).format(sql.Identifier(TWIN)))
    part = "CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS {}, REMAINDER {})"
    for number in range(partitions):
        names = sql.Identifier(f"{TWIN}_{number}"), sql.Identifier(TWIN)
        connection.execute(sql.SQL(part).format(*names, sql.Literal(partitions), sql.Literal(number)))
