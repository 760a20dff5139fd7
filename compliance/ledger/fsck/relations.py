"""Columns against columns: what the first pass has compared with the bytes is here compared with each other, in SQL.

One walk over all chains counts what is wrong. Only if it counts something, or if the bytes were not sound, are the
relations asked one by one for the rows that break them; so a sound log of any size costs no memory and little time.
"""

from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from compliance.ledger import store
from compliance.ledger.fsck.problems import FsckResult

_SHOWN_EACH: Final = 200


@dataclass(frozen=True, slots=True)
class Relation:
    """`query` returns a place and a detail for each row that breaks it."""

    code: str
    query: str
    place: str
    detail: str
    over_entries: bool = True


_ENTRY: Final = "entry {0}/{1}"
_WITH_PREDECESSOR: Final = (
    "FROM ledger_entry e LEFT JOIN ledger_entry p ON p.subject = e.subject AND p.seq = e.seq - 1 "
)
RELATIONS: Final = (
    Relation(
        "chain.gap",
        f"SELECT e.subject, e.seq {_WITH_PREDECESSOR} WHERE e.seq > 0 AND p.hash IS NULL",
        _ENTRY,
        "the entry before it in the chain is missing",
    ),
    Relation(
        "chain.prev",
        f"SELECT e.subject, e.seq {_WITH_PREDECESSOR} WHERE e.seq > 0 AND p.hash <> e.prev",
        _ENTRY,
        "prev is not the hash of the entry before it",
    ),
    Relation(
        "chain.time",
        f"SELECT e.subject, e.seq {_WITH_PREDECESSOR} WHERE p.recorded_at > e.recorded_at "
        "OR (p.recorded_at = e.recorded_at AND p.batch <> e.batch)",
        _ENTRY,
        "recorded_at does not come after the entry before it",
    ),
    Relation(
        "chain.batch_order",
        f'SELECT e.subject, e.seq {_WITH_PREDECESSOR} WHERE p.batch = e.batch AND p."index" >= e."index"',
        _ENTRY,
        "the chain is not in the order of the batch",
    ),
    Relation(
        "chain.order",
        f"SELECT e.subject, e.seq {_WITH_PREDECESSOR} JOIN ledger_leaf_range re ON re.batch = e.batch "
        "LEFT JOIN ledger_leaf_range rp ON rp.batch = p.batch "
        "WHERE p.batch <> e.batch AND (rp.first_index IS NULL OR rp.first_index > re.first_index)",
        _ENTRY,
        "it lies in the log before the entry that comes before it in the chain",
    ),
    Relation(
        "head.missing",
        "SELECT e.subject, e.seq FROM ledger_entry e LEFT JOIN ledger_head h ON h.subject = e.subject "
        "WHERE h.subject IS NULL OR e.seq > h.seq",
        _ENTRY,
        "the head of its chain is missing or ends before it",
    ),
    Relation(
        "head.wrong",
        "SELECT h.subject, h.seq FROM ledger_head h "
        "LEFT JOIN ledger_entry e ON e.subject = h.subject AND e.seq = h.seq "
        "WHERE e.hash IS NULL OR e.hash <> h.hash OR e.recorded_at <> h.recorded_at",
        "head {0}",
        "it says the chain ends at seq {1}, with a hash or time that no entry has",
    ),
    Relation(
        "event_key.extra",
        "SELECT k.key, k.seq FROM ledger_event_key k "
        "LEFT JOIN ledger_entry e ON e.subject = k.subject AND e.seq = k.seq WHERE e.hash IS NULL",
        "event_key {0}",
        "it names an entry (seq {1}) that does not exist",
    ),
    Relation(
        "entry.batch",
        "SELECT e.subject, e.seq FROM ledger_entry e LEFT JOIN ledger_batch b ON b.id = e.batch WHERE b.id IS NULL",
        _ENTRY,
        "its batch is missing",
    ),
    Relation(
        "entry.unplaced",
        "SELECT e.subject, e.seq FROM ledger_entry e LEFT JOIN ledger_leaf_range r ON r.batch = e.batch "
        "LEFT JOIN ledger_pending p ON p.batch = e.batch WHERE r.batch IS NULL AND p.batch IS NULL",
        _ENTRY,
        "it has no place in the log and does not wait for one",
    ),
    Relation(
        "pending.indexed",
        "SELECT p.batch, r.first_index FROM ledger_pending p JOIN ledger_leaf_range r ON r.batch = p.batch",
        "pending {0}",
        "the batch waits for a place in the log but has one, {1}",
        over_entries=False,
    ),
    Relation(
        "pending.time",
        "SELECT p.batch, e.seq FROM ledger_pending p LEFT JOIN ledger_entry e ON e.batch = p.batch "
        "WHERE e.hash IS NULL OR e.recorded_at <> p.recorded_at",
        "pending {0}",
        "the batch has no entries, or other times",
        over_entries=False,
    ),
    Relation(
        "receipt.missing",
        "SELECT b.id, 0 FROM ledger_batch b LEFT JOIN ledger_receipt r ON r.batch = b.id WHERE r.batch IS NULL",
        "batch {0}",
        "no receipt is stored for it",
        over_entries=False,
    ),
    Relation(
        "receipt.extra",
        "SELECT r.batch, r.first FROM ledger_receipt r LEFT JOIN ledger_batch b ON b.id = r.batch WHERE b.id IS NULL",
        "receipt {0}/{1}",
        "its batch is missing",
        over_entries=False,
    ),
    Relation(
        "log_state.extra",
        "SELECT id, size FROM ledger_log_state WHERE id <> 1",
        "log_state {0}",
        "a second state of the log, of {1} entries; the database was made to take it",
        over_entries=False,
    ),
    Relation(
        "time_token.extra",
        "SELECT id, tokens FROM ledger_anchoring WHERE id <> 1",
        "anchoring {0}",
        "a second count of the time stamps, {1}; the database was made to take it",
        over_entries=False,
    ),
)
_TWICE: Final = Relation(
    "event_key.twice",
    "SELECT subject, seq FROM ledger_event_key GROUP BY subject, seq HAVING count(*) > 1",
    _ENTRY,
    "more than one event key names it",
)


_CHAINS: Final = (
    "SELECT count(*), "
    "count(*) FILTER (WHERE e.seq > 0 AND (p.hash IS NULL OR e.prev IS NULL OR p.hash <> e.prev)), "
    "count(*) FILTER (WHERE p.recorded_at > e.recorded_at OR (p.recorded_at = e.recorded_at AND p.batch <> e.batch)), "
    'count(*) FILTER (WHERE p.batch = e.batch AND p."index" >= e."index"), '
    "count(*) FILTER (WHERE p.batch <> e.batch AND re.batch IS NOT NULL "
    "AND (rp.first_index IS NULL OR rp.first_index > re.first_index)), "
    "count(*) FILTER (WHERE h.subject IS NULL OR e.seq > h.seq), "
    "count(*) FILTER (WHERE e.seq = h.seq AND e.hash = h.hash AND e.recorded_at = h.recorded_at) "
    f"{_WITH_PREDECESSOR} LEFT JOIN ledger_head h ON h.subject = e.subject "
    "LEFT JOIN ledger_leaf_range re ON re.batch = e.batch LEFT JOIN ledger_leaf_range rp ON rp.batch = p.batch"
)
_LOST_BATCHES: Final = (
    "SELECT count(*) FROM ledger_batch b LEFT JOIN ledger_leaf_range r ON r.batch = b.id "
    "LEFT JOIN ledger_pending p ON p.batch = b.id WHERE r.batch IS NULL AND p.batch IS NULL "
    "AND EXISTS (SELECT 1 FROM ledger_entry e WHERE e.batch = b.id)"
)


_PLANS: Final = ("enable_partitionwise_join = on", "jit = off", "max_parallel_workers_per_gather = 0")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one walk over entries, their predecessors and their heads counted, and how many rows other tables have."""

    entries: int
    broken: int
    heads: int
    right_heads: int
    event_keys: int
    lost_batches: int

    def explain_all(self, *, entries: int) -> bool:
        """Whether no query over all entries can find anything, once bytes and event keys were found right.

        `entries` were read with the batches they belong to: if these are all, none is without batch.
        """
        return not self.broken and not self.lost_batches and self.heads == self.right_heads and self.entries == entries


def counts() -> Counts:
    """Walk over all chains once."""
    _plan_by_partition()
    entries, *broken, right_heads = store.current().select(_CHAINS)[0]
    (lost,) = store.current().select(_LOST_BATCHES)[0]
    return Counts(entries, sum(broken), count("ledger_head"), right_heads, count("ledger_event_key"), lost)


def compare(result: FsckResult, counted: Counts, *, keys_agree: bool) -> None:
    """Note every row that does not fit the others. `keys_agree`: the event keys are just those of the entries."""
    sound = result.sound and keys_agree and counted.explain_all(entries=result.entries)
    _plan_by_partition()
    for relation in RELATIONS:
        if not (sound and relation.over_entries):
            _compare(result, relation)
    if not sound and counted.event_keys != counted.entries:
        _compare(result, _TWICE)


def count(table: str) -> int:
    """Rows of `table`, a name of ours."""
    rows: list[tuple[Any, ...]] = store.current().select(f"SELECT count(*) FROM {table}")  # noqa: S608
    number: int = rows[0][0]
    return number


def _plan_by_partition() -> None:
    """Chains never cross partitions, so neither need the joins. Compiling the plan of sixteen partitions would take
    longer than a walk over a hundred thousand entries, and several processes together work half as much again.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for setting in _PLANS:
                cursor.execute(f"SET LOCAL {setting}")


def _compare(result: FsckResult, relation: Relation) -> None:
    for row in store.current().select(f"{relation.query} LIMIT {_SHOWN_EACH}"):
        shown = [value.hex() if isinstance(value, bytes) else str(value) for value in row]
        result.add(relation.code, relation.place.format(*shown), relation.detail.format(*shown))
