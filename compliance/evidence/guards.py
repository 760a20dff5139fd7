"""Fences in the database around evidence: only the moves of `models.MOVES`, nothing else changed, nothing deleted.

`ledger.guards` keeps files and links insert-only; here stand the rules that depend on the evidence's state: evidence
begins as received, files and links come only while it is received, and its row changes by a move alone. Registered
with `ledger.guards`, which puts them up after every migrate and asks which are `missing`. As every guard they are a
fence, not the proof: that is the manifest in the log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from compliance.evidence.models import MOVES, Evidence, EvidenceFile, EvidenceLink, State

MESSAGE: Final = "recorded evidence is never changed or removed"
_MOVING: Final = frozenset({"state", "decided_by_id", "decided_at", "reason", "superseded_by_id"})
_PREFIX: Final = "evidence_guard"


@dataclass(frozen=True, slots=True)
class Guard:
    """A trigger: when it fires, on which table, and the condition under which it refuses."""

    name: str
    table: str
    event: str
    refuse: str


def install(using: str = "default") -> None:
    """Put up every guard, in the place of whatever bears its name. Without the tables there is nothing to guard yet."""
    connection = connections[using]
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
        if not present.issuperset(model._meta.db_table for model in (Evidence, EvidenceFile, EvidenceLink)):
            return
        for guard in _guards(connection):
            for statement in _statements(connection, guard):
                cursor.execute(statement)


def missing(using: str = "default") -> list[str]:
    """The guards that are not there as they must be."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT t.tgname, t.tgenabled::text || p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
                "WHERE NOT t.tgisinternal"
            )
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        standing = dict(cursor.fetchall())
    return [
        f"{guard.table}: {_PREFIX}_{guard.name}"
        for guard in _guards(connection)
        if standing.get(f"{_PREFIX}_{guard.name}") != _fingerprint(connection, guard)
    ]


def _guards(connection: BaseDatabaseWrapper) -> Iterator[Guard]:
    evidence = Evidence._meta.db_table
    same = " IS NOT DISTINCT FROM " if connection.vendor == "postgresql" else " IS "
    fixed = [field.column for field in Evidence._meta.concrete_fields if field.column not in _MOVING]
    pairs = [(start.value, end.value) for start, ends in MOVES.items() for end in sorted(ends)]
    moves = " OR ".join(f"(OLD.state = '{start}' AND NEW.state = '{end}')" for start, end in pairs)
    decided = " AND ".join(f"NEW.{column}{same}OLD.{column}" for column in ("decided_by_id", "decided_at", "reason"))
    keeps_decision = f"(OLD.state <> '{State.ACCEPTED.value}' OR ({decided}))"
    unchanged = " AND ".join(f"NEW.{column}{same}OLD.{column}" for column in fixed)
    yield Guard("move", evidence, "UPDATE", f"NOT (({moves}) AND {keeps_decision} AND {unchanged})")
    yield Guard("stay", evidence, "DELETE", "1 = 1")
    taken = _exists(evidence, "id = NEW.id OR public_id = NEW.public_id")
    yield Guard("begin", evidence, "INSERT", f"NEW.state <> '{State.RECEIVED.value}' OR {taken}")
    for model in (EvidenceFile, EvidenceLink):
        table = model._meta.db_table
        open_for_writing = _exists(evidence, f"id = NEW.evidence_id AND state = '{State.RECEIVED.value}'")
        yield Guard(f"whole_{model._meta.model_name}", table, "INSERT", f"NOT {open_for_writing}")


def _exists(table: str, condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM {table} WHERE {condition})"  # noqa: S608 (names and values are ours)


def _statements(connection: BaseDatabaseWrapper, guard: Guard) -> list[str]:
    name = f"{_PREFIX}_{guard.name}"
    if connection.vendor != "postgresql":
        return [
            f"DROP TRIGGER IF EXISTS {name}",
            f"CREATE TRIGGER {name} BEFORE {guard.event} ON {guard.table} WHEN {guard.refuse} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
        ]
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${_body(guard)}$body$",
        f"DROP TRIGGER IF EXISTS {name} ON {guard.table}",
        f"CREATE TRIGGER {name} BEFORE {guard.event} ON {guard.table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        f"ALTER TABLE {guard.table} ENABLE ALWAYS TRIGGER {name}",
    ]


def _fingerprint(connection: BaseDatabaseWrapper, guard: Guard) -> str:
    return f"A{_body(guard)}" if connection.vendor == "postgresql" else _statements(connection, guard)[-1]


def _body(guard: Guard) -> str:
    """The PostgreSQL function. Its names and values are all constants of this file."""
    row = "OLD" if guard.event == "DELETE" else "NEW"
    refuse = f"IF {guard.refuse} THEN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = '23001'; END IF;"
    return f" BEGIN {refuse} RETURN {row}; END "
