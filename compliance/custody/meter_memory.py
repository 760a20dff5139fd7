"""What is remembered of a meter to judge its next entry.

An append finds it in the heads of the chains that it locks, and writes it back with them (`ledger.models.Head.memory`).
A replay must not: it starts from nothing, and often only to compare. So it has a temporary table for it.
"""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Final

import msgspec
from django.db import connection

from compliance.custody.lifecycle import State

_TABLE: Final = "custody_meter_memory"
_BYTES: Final = {"postgresql": "bytea", "sqlite": "blob"}
_KEYS_AT_ONCE: Final = 500  # below SQLITE_MAX_VARIABLE_NUMBER of every build
_MADE: Final = f"COALESCE((SELECT m.memory FROM {_TABLE} m WHERE m.subject_key = ledger_head.subject), %s)"  # noqa: S608


class Memory(msgspec.Struct, frozen=True):
    """Where the fold stands, and the type of the last event: stored as JSON."""

    state: State
    last_type: str


read = msgspec.json.Decoder(Memory).decode
_encode = msgspec.json.Encoder().encode


def spell(state: State, last_type: str) -> bytes:
    """As it is stored."""
    return _encode(Memory(state, last_type))


def last_type(remembered: bytes) -> str:
    """The type of the last event; empty if that cannot be read. fsck says so then."""
    try:
        return read(remembered).last_type
    except msgspec.DecodeError:
        return ""


@contextmanager
def made_anew() -> Iterator[None]:
    """Inside, nothing is remembered at first. To be called in a transaction."""
    kind = _BYTES[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {_TABLE} (subject_key {kind} PRIMARY KEY, memory {kind} NOT NULL)")
        try:
            yield
        finally:
            if not connection.needs_rollback:
                cursor.execute(f"DROP TABLE {_TABLE}")


@contextmanager
def of(keys: Set[bytes]) -> Iterator[dict[bytes, bytes]]:
    """What is remembered of these chains, empty for nothing. What is put there stays remembered."""
    wanted = sorted(keys)
    memory = dict.fromkeys(wanted, b"")
    with connection.cursor() as cursor:
        for first in range(0, len(wanted), _KEYS_AT_ONCE):
            part = wanted[first : first + _KEYS_AT_ONCE]
            marks = ",".join(["%s"] * len(part))
            cursor.execute(f"SELECT subject_key, memory FROM {_TABLE} WHERE subject_key IN ({marks})", part)  # noqa: S608
            memory.update((bytes(key), bytes(remembered)) for key, remembered in cursor.fetchall())
        before = dict(memory)
        yield memory
        cursor.executemany(
            f"INSERT INTO {_TABLE} (subject_key, memory) VALUES (%s, %s) "  # noqa: S608
            "ON CONFLICT (subject_key) DO UPDATE SET memory = excluded.memory",
            [pair for pair in memory.items() if pair[1] != before[pair[0]]],
        )


def take_over() -> None:
    """Let the heads remember what was made, and nothing else."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ledger_head SET memory = {_MADE} WHERE memory <> {_MADE}", [b"", b""])  # noqa: S608


def differences(most: int) -> list[tuple[bytes, bytes, bytes]]:
    """Key, stored memory and the one that was made, of the heads where they differ, `most` of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT subject, memory, {_MADE} FROM ledger_head WHERE memory <> {_MADE} ORDER BY subject LIMIT %s",  # noqa: S608
            [b"", b"", most],
        )
        return [(bytes(key), bytes(there), bytes(true)) for key, there, true in cursor.fetchall()]
