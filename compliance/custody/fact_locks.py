"""What a batch is judged by beyond its own chains, held until it commits, on PostgreSQL.

A batch that changes such a fact and one that is judged by it must not overlap: else the one may be judged without the
other although it comes later in the log, and a replay would judge otherwise. So the one holds a lock alone and the
other in share, both before the time of recording is taken; their order is then that of the log. A lock is a row that
stands for a kind of fact. docs/decisions/0011-facts-of-other-chains.md and the decision after it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection

from compliance.custody.facts import BIRTH
from compliance.custody.vocabulary import CORRECTED, LINKED
from compliance.ledger.append import IncomingBatch
from compliance.ledger.store.packed import preparing_cursor
from compliance.proof.subject import PLATFORM

# The roles of one organisation: its batches are judged by them, a registration changes them.
_ROLES: Final = "roles {}"
# Types and the letters of serial ranges: a registration and its correction change them. Births are judged by them, and
# once more when something that was said of the meter is corrected.
_TYPES: Final = "types"
# Whom an event on a unit, a shipment or a key bundle reaches: by what is packed in what, and by the names of meters.
# The first entry of a chain names it, whatever type it has.
# Held alone by who is judged by it, and in share by who only adds names: events that add names are many.
_CONTENTS: Final = "contents"

_REGISTERS_ROLES: Final = "org.registered"
_REGISTERS_TYPE: Final = "design.type_registered"
_KINDS_WITH_MEMBERS: Final = frozenset({"logistic_unit", "shipment", "key_bundle"})
_KIND_OF_TYPES: Final = "meter_type"
_KIND_OF_METERS: Final = "meter"
_MAKE: Final = "INSERT INTO custody_fact_lock (name) VALUES (%s) ON CONFLICT DO NOTHING"
_HOLD: Final = "SELECT 1 FROM custody_fact_lock WHERE name = %s FOR SHARE"
_HOLD_ALONE: Final = "SELECT 1 FROM custody_fact_lock WHERE name = %s FOR UPDATE"


def hold_facts(batch: IncomingBatch, begins: bool, _held: dict[str, Any]) -> datetime | None:
    """The ledger's lock hook. Takes all locks in one order, so that no two batches wait for each other."""
    if connection.vendor != "postgresql":  # SQLite has one writer
        return None
    with preparing_cursor() as cursor:
        for name, alone in sorted(_locks(batch, begins=begins)):
            statement = _HOLD_ALONE if alone else _HOLD
            if cursor.execute(statement, [name]).fetchone() is None:  # the first batch of all that needs it
                cursor.execute(_MAKE, [name])
                cursor.execute(statement, [name])
    return None


def _locks(batch: IncomingBatch, *, begins: bool) -> Iterator[tuple[str, bool]]:
    """Name of each lock that `batch` needs, and whether it must hold it alone."""
    values = [event.value for event in batch.events]
    types = {value["type"] for value in values}
    kinds = {value["subject"].partition(":")[0] for value in values}
    registered = {value["subject"].rpartition(":")[2] for value in values if value["type"] == _REGISTERS_ROLES}
    for organisation in registered | {batch.author} - {PLATFORM}:
        yield _ROLES.format(organisation), organisation in registered
    changes_types = _REGISTERS_TYPE in types or (CORRECTED in types and _KIND_OF_TYPES in kinds)
    if changes_types or BIRTH in types or _refolds_meters(types, kinds, values):
        yield _TYPES, changes_types
    if not kinds.isdisjoint(_KINDS_WITH_MEMBERS):
        yield _CONTENTS, True
    elif (begins and _KIND_OF_METERS in kinds) or any("identifiers" in value["data"] for value in values):
        yield _CONTENTS, False


def _refolds_meters(types: set[str], kinds: set[str], values: Sequence[dict[str, Any]]) -> bool:
    """Whether the chain of a meter is folded anew: for a correction on it, or on a unit that it was reached by."""
    if CORRECTED in types and _KIND_OF_METERS in kinds:
        return True
    return LINKED in types and any(value["data"]["effect"] == CORRECTED for value in values if value["type"] == LINKED)
