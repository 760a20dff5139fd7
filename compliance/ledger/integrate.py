"""Giving committed batches their place in the log, one runner at a time.

Work is chosen by "batch in the outbox", never by a cursor over ids: batches commit out of order. The order is that of
`recorded_at`; of two batches that share a subject the earlier one committed before the later one took its time, so it
is always visible and earlier here. That is checked all the same, for every entry, and so is every hash.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import connection

from compliance.jobs.failpoints import reach
from compliance.ledger import clock_guard
from compliance.ledger.errors import Damaged
from compliance.ledger.models import LeafRange, LogState, Pending
from compliance.ledger.transactions import unit_of_work
from compliance.proof import merkle
from compliance.proof.subject import key_of

logger = logging.getLogger(__name__)

BATCHES_A_ROUND: Final = (
    400  # bounds memory and the time the state row is locked; a round of full batches is 400,000 rows
)
ENTRIES_A_ROUND: Final = 50_000

_ENTRIES: Final = (
    'SELECT e.batch, e."index", e.subject, e.seq, e.prev, e.hash, e.body, p.hash, r.first_index '
    "FROM ledger_entry e "
    "LEFT JOIN ledger_entry p ON p.subject = e.subject AND p.seq = e.seq - 1 "
    "LEFT JOIN ledger_leaf_range r ON r.batch = p.batch "
    'WHERE e.batch = %s ORDER BY e."index"'
)


@dataclass(frozen=True, slots=True)
class _Row:
    batch: bytes
    index: int
    subject: bytes
    seq: int
    prev: bytes | None
    hash: bytes
    body: bytes
    predecessor: bytes | None
    predecessor_leaf: int | None

    @property
    def place(self) -> str:
        return f"entry {self.subject.hex()}/{self.seq} (batch {self.batch.hex()}, index {self.index})"


def integrate() -> int:
    """Index everything that is committed, and say how many entries that were. 0 while another runner is at it.

    Raises Damaged, and leaves the log as it was, when stored bytes do not fit together.
    """
    total = 0
    while count := _integrate_round():
        total += count
    return total


@unit_of_work()
def _integrate_round() -> int:
    state = LogState.objects.select_for_update(skip_locked=True).filter(id=1).first()
    if state is None:
        return 0
    reach("ledger.integrate.begin")
    edge = merkle.RightEdge.from_bytes(state.right_edge)
    if edge.size != state.size or edge.root() != state.root:
        raise Damaged("log_state", "size, root and right edge are not of one tree")
    waiting = list(Pending.objects.order_by("recorded_at", "batch").values_list("batch", "recorded_at"))[
        :BATCHES_A_ROUND
    ]
    ranges, newest = _index(edge, waiting)
    _move_on(edge, ranges, newest)
    reach("ledger.integrate.commit")
    return edge.size - state.size if ranges else 0


def _index(
    edge: merkle.RightEdge, waiting: Iterable[tuple[bytes, datetime]]
) -> tuple[list[LeafRange], datetime | None]:
    """Append the entries of `waiting` to `edge`, batch by batch, and return where each batch came to lie."""
    ends: dict[bytes, tuple[int, bytes]] = {}
    ranges: list[LeafRange] = []
    newest = None
    for batch, recorded_at in waiting:
        rows = _rows_of(batch)
        if not rows:
            raise Damaged(f"batch {batch.hex()}", "it waits to be integrated but has no entries")
        if not _fits(rows, ends):
            continue
        ranges.append(LeafRange(first_index=edge.size, count=len(rows), batch=batch))
        for row in rows:
            edge.append(row.hash)
            ends[row.subject] = (row.seq, row.hash)
        newest = recorded_at
        if edge.size - ranges[0].first_index >= ENTRIES_A_ROUND:
            break
    return ranges, newest


def _rows_of(batch: bytes) -> list[_Row]:
    with connection.cursor() as cursor:
        cursor.execute(_ENTRIES, [batch])
        rows = [
            _Row(
                bytes(batch),
                index,
                bytes(subject),
                seq,
                None if prev is None else bytes(prev),
                bytes(hash_),
                bytes(body),
                None if predecessor is None else bytes(predecessor),
                leaf,
            )
            for batch, index, subject, seq, prev, hash_, body, predecessor, leaf in cursor.fetchall()
        ]
    for row in rows:
        _require_bytes_say_so(row)
    return rows


def _require_bytes_say_so(row: _Row) -> None:
    """Never trust a stored hash or column: the leaf is what the bytes are, and they name their own place."""
    if hashlib.sha256(b"\x00" + row.body).digest() != row.hash:
        raise Damaged(row.place, "the stored hash is not the leaf hash of the stored bytes")
    said = read_placement(row.body)
    if (
        said["batch"] != row.batch.hex()
        or said["index"] != row.index
        or said["seq"] != row.seq
        or said["prev"] != (None if row.prev is None else row.prev.hex())
        or key_of(said["subject"]) != row.subject
    ):
        raise Damaged(row.place, "the columns are not what the stored bytes say")


def read_placement(body: bytes) -> dict[str, Any]:
    """All members of an entry but its event, without reading the event: an entry is spliced around it."""
    event_start = body.index(b',"event":')
    event_end = body.rindex(b',"index":')
    said: dict[str, Any] = orjson.loads(body[:event_start] + body[event_end:])
    return said


def _fits(rows: Sequence[_Row], ends: dict[bytes, tuple[int, bytes]]) -> bool:
    """Whether every chain in `rows` goes on exactly where the log has it; False if a batch before must come first."""
    here: dict[bytes, tuple[int, bytes]] = {}
    for row in rows:
        end = here.get(row.subject) or ends.get(row.subject)
        if end is None and row.seq > 0:
            if row.predecessor is None:
                raise Damaged(row.place, "the entry before it is missing")
            if row.predecessor_leaf is None:
                return False
            end = (row.seq - 1, row.predecessor)
        if (end is None and row.prev is not None) or (end is not None and end != (row.seq - 1, row.prev)):
            raise Damaged(row.place, "it does not follow the entry before it")
        here[row.subject] = (row.seq, row.hash)
    return True


def _move_on(edge: merkle.RightEdge, ranges: Sequence[LeafRange], newest: datetime | None) -> None:
    """Write the new state. The clock's sign of life goes with it, unless the clock has jumped."""
    clock_guard.give_sign(newest)
    if not ranges:
        return
    LeafRange.objects.bulk_create(ranges)
    reach("ledger.integrate.ranges")
    Pending.objects.filter(batch__in=[item.batch for item in ranges]).delete()
    reach("ledger.integrate.pending")
    LogState.objects.filter(id=1).update(size=edge.size, root=edge.root(), right_edge=edge.to_bytes())
    reach("ledger.integrate.state")
