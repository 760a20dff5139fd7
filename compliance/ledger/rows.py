"""Reading the log in its own order, a bounded piece at a time: what tiles, proofs and fsck are made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import connection

from compliance.ledger.models import LeafRange

PIECE: Final = 8_192  # leaves read at a time: 32 bundles, some ten megabytes

_LEAVES: Final = (
    'SELECT r.first_index, e.batch, e."index", e.hash, e.body FROM ledger_leaf_range r '
    "JOIN ledger_entry e ON e.batch = r.batch "
    'WHERE r.first_index >= %s AND r.first_index < %s ORDER BY r.first_index, e."index"'
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry at its place in the log. `body` is empty when the entry was redacted."""

    leaf: int
    batch: bytes
    index: int
    hash: bytes
    body: bytes


def leaves(first: int, last: int) -> Iterator[Leaf]:
    """The leaves from `first` to before `last`, in order, as the rows have them."""
    position = first
    while position < last:
        piece_end = min(last, position + PIECE)
        yield from _piece(position, piece_end)
        position = piece_end


def _piece(first: int, last: int) -> Iterator[Leaf]:
    """A batch lies whole in one range, so the piece begins with the range that holds `first`."""
    start = LeafRange.objects.filter(first_index__lte=first).order_by("-first_index").first()
    if start is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(_LEAVES, [start.first_index, last])
        found = cursor.fetchall()  # whole: on SQLite an unfinished query keeps its reader from writing
    at, range_start = start.first_index, start.first_index
    for first_index, batch, index, hash_, body in found:
        if first_index != range_start:
            at = range_start = first_index
        if first <= at < last:
            yield Leaf(at, bytes(batch), index, bytes(hash_), bytes(body))
        at += 1
