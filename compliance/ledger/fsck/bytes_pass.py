"""Bytes against columns, in the order of the log: each entry, batch, receipt and leaf range of a part of it.

A part reads nothing but rows that never change again and knows of the others only where the tree stood before it; so
parts can be read in any order, by any process, on any host (`parts` cuts and joins them).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from compliance.ledger import store, tiles
from compliance.ledger.append import event_keys
from compliance.ledger.fsck.checkpoints import known_cosigners, signed_root
from compliance.ledger.fsck.entries import EntryReader, Recognised, Row, Said, place
from compliance.ledger.fsck.event_keys import ExpectedKeys
from compliance.ledger.fsck.parts import Part, PartResult, Redacted, Seen
from compliance.ledger.fsck.receipts import ReceiptReader
from compliance.ledger.fsck.tree import Edge, LeafTiles, read
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.store import Begin
from compliance.proof import batch as batch_format
from compliance.proof import dsse, merkle
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.subject import key_of
from compliance.proof.times import parse_recorded_at

PAGE: Final = 2_048  # entries in memory at a time, unless one batch has more
_HASH: Final = merkle.HASH_BYTES
_CHECKPOINTS: Final = 500
_sha256 = hashlib.sha256

_ENTRIES: Final = (
    'SELECT batch, "index", subject, seq, prev, hash, body, {recorded_at} FROM ledger_entry WHERE {condition}'
)
_BATCHES: Final = "SELECT id, payload_sha256, envelope, event_hashes FROM ledger_batch WHERE {}"
_RECEIPTS: Final = "SELECT batch, first, envelope FROM ledger_receipt WHERE {} ORDER BY batch, first"
_PLACED: Final = (
    "SELECT first_index, count, batch FROM ledger_leaf_range WHERE first_index >= %s AND first_index < %s "
    "ORDER BY first_index LIMIT 512"
)
_UNPLACED: Final = (
    "SELECT b.id FROM ledger_batch b LEFT JOIN ledger_leaf_range r ON r.batch = b.id "
    "WHERE r.batch IS NULL AND b.id > %s ORDER BY b.id LIMIT 64"
)

Progress = Callable[[int], None]


@dataclass(slots=True)
class _Page:
    """Rows of a few batches."""

    batches: dict[bytes, Row]
    entries: dict[bytes, list[Row]]
    receipts: dict[bytes, list[Row]]


class BytesPass:
    """One walk over the batches of a part. It grows the tree as it goes and compares the published files over it."""

    def __init__(
        self, edge: Edge, published: int, log_keys: LogKeys, keys: ExpectedKeys, progress: Progress | None = None
    ) -> None:
        self.part = PartResult(begins=edge.digest())
        self._result = self.part.result
        self._published = published
        self._keys = keys
        self._progress = progress or (lambda _done: None)
        self._store = store.current()
        self._tree = LeafTiles(self._result, edge, published)
        self._entries = EntryReader(self._result, self._store)
        self._receipts = ReceiptReader(self._result, log_keys)
        self._log_keys = log_keys
        self._cosigners = known_cosigners()

    def read_placed(self, part: Part, *, last: bool) -> PartResult:
        """Read the batches that `part` places. With `last`, the log ends with them."""
        self._checkpoints = self._checkpoint_rows(self._tree.size or -1)
        self._next = next(self._checkpoints, None)
        with self._store.background() as begin:
            for ranges, page in self._pages(part, begin):
                for first_index, count, batch in ranges:
                    self._check_range(first_index, count, len(page.entries[batch]), batch)
                    self._check_batch(batch, page, placed=True)
                    self._check_checkpoints()
                self._progress(self._result.entries)
        if last:
            self._tree.finish()
        self.part.roots = self._tree.roots
        self.part.low_roots = self._tree.low_roots()
        self.part.ends, self.part.size = self._tree.edge.digest(), self._tree.size
        return self.part

    def read_unplaced(self) -> PartResult:
        """Read the batches without a place: waiting ones, and those whose events were all recorded before or
        refused.
        """
        last = b""
        while found := [row[0] for row in self._store.select(_UNPLACED, [last])]:
            page = self._read(found)
            for batch in found:
                self._check_batch(batch, page, placed=False)
            last = found[-1]
        return self.part

    def _pages(self, part: Part, begin: Begin) -> Iterator[tuple[list[Row], _Page]]:
        """The ranges of `part` with their rows. The next page is read while one is looked at."""
        waiting: tuple[list[Row], Future[_Page]] | None = None
        for ranges in self._placed(part):
            coming = ranges, begin(self._read, [batch for _, _, batch in ranges])
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
        if waiting is not None:
            yield waiting[0], waiting[1].result()

    def _placed(self, part: Part) -> Iterator[list[Row]]:
        """Leaf ranges in order, some thousand entries at a time."""
        next_index = part.first_index
        while found := self._store.select(_PLACED, [next_index, part.end_index]):
            taken: list[Row] = []
            entries = 0
            for row in found:
                taken.append(row)
                entries += row[1]
                if entries >= PAGE:
                    yield taken
                    taken, entries = [], 0
            if taken:
                yield taken
            next_index = found[-1][0] + 1

    def _read(self, batches: Sequence[bytes]) -> _Page:
        page = _Page({}, {batch: [] for batch in batches}, {})
        condition, parameters = self._store.any_of("batch", batches)
        statement = _ENTRIES.format(recorded_at=self._store.time_column("recorded_at"), condition=condition)
        for row in self._store.select(statement, parameters):
            page.entries[row[0]].append(row)
        for rows in page.entries.values():
            rows.sort(key=itemgetter(1))  # cheaper here than in the database, which would carry the bodies along
        for row in self._store.select(_RECEIPTS.format(condition), parameters):
            page.receipts.setdefault(row[0], []).append(row)
        condition, parameters = self._store.any_of("id", batches)
        page.batches = {row[0]: row for row in self._store.select(_BATCHES.format(condition), parameters)}
        return page

    def _check_range(self, first_index: int, count: int, found: int, batch: bytes) -> None:
        size = self._tree.size
        if first_index > size:
            detail = f"nothing lies here, the next range begins at {first_index}"
            self._result.add("leaf_range.missing", f"leaf_range {size}", detail)
        elif first_index < size:
            self._result.add("leaf_range.overlap", f"leaf_range {first_index}", f"the ranges before it end at {size}")
        if found != count:
            detail = f"it counts {count} entries, batch {batch.hex()} has {found}"
            self._result.add("leaf_range.count", f"leaf_range {first_index}", detail)

    def _check_batch(self, batch: bytes, page: _Page, *, placed: bool) -> None:
        where = f"batch {batch.hex()}"
        rows = page.entries[batch]
        row = page.batches.get(batch)
        payload: dict[str, Any] = {}
        event_hashes: list[bytes] = []
        if row is None:
            self._result.add("batch.missing", where, "the row is missing")
        else:
            self._result.batches += 1
            payload, event_hashes = self._check_envelope(where, row)
            if placed and self._tree.size < self._published:
                self._compare_file(row)
        author = batch_format.author_of(payload) if payload else None
        receipts = page.receipts.get(batch, [])
        read = self._entries.recognise(batch, rows, event_hashes) if author is not None else None
        if author is not None and read is not None:
            self._check_recognised(author, read, rows, receipts, event_hashes)
            hashes, bodies = read.hashes, read.bodies
        else:
            self._check_rows(author, rows, receipts, event_hashes)
            hashes, bodies = [entry[5] for entry in rows], [entry[6] for entry in rows]
        if placed:
            self._tree.extend(hashes, bodies)

    def _check_recognised(
        self,
        author: str,
        read: Recognised,
        rows: Sequence[Row],
        receipts: Sequence[Row],
        event_hashes: Sequence[bytes],
    ) -> None:
        """Event keys and receipts of a batch whose entries are certainly as they should be."""
        self._keys.expect(event_keys(author, read.event_ids), read.event_hashes, read.subjects, read.seqs)
        said: list[Said | None] | None = None
        for receipt in receipts:
            if not self._receipts.recognise(receipt, read.receipt, len(event_hashes)):
                said = said or [("", event_hash, "") for event_hash in read.event_hashes]
                self._receipts.check(receipt, rows, said, event_hashes)

    def _check_rows(
        self, author: str | None, rows: Sequence[Row], receipts: Sequence[Row], event_hashes: Sequence[bytes]
    ) -> None:
        """Note all that is wrong with the entries of a batch and with its receipts."""
        said = self._entries.read(rows, event_hashes, signed=author is not None)
        if author is not None:
            readable = [(row, stated) for row, stated in zip(rows, said, strict=True) if stated is not None]
            self._keys.expect(
                event_keys(author, [stated[0] for _, stated in readable]),
                [stated[1] for _, stated in readable],
                [row[2] for row, _ in readable],
                [row[3] for row, _ in readable],
            )
            self._check_withheld(author, [row for row in rows if not row[6]], receipts)
        for receipt in receipts:
            self._receipts.check(receipt, rows, said, event_hashes)
        self.part.redacted += [
            Redacted(row[2], row[3], row[5], self._tree.size + at, place(row))
            for at, row in enumerate(rows)
            if not row[6]
        ]

    def _check_withheld(self, author: str, rows: Sequence[Row], receipts: Sequence[Row]) -> None:
        """Columns and event keys of entries whose bytes are gone: the signed receipt still says what the bytes said."""
        promised = self._receipts.promised(receipts) if rows else {}
        for row in rows:
            item = promised.get(row[5].hex())
            if item is None:  # the comparison of receipts says so
                continue
            for name, agrees in (
                ("subject", key_of(item["subject"]) == row[2]),
                ("seq", item["seq"] == row[3]),
                ("prev", item["prev"] == (None if row[4] is None else row[4].hex())),
                ("recorded_at", self._store.stored_time(parse_recorded_at(item["recorded_at"])) == row[7]),
            ):
                if not agrees:
                    self._result.add(f"entry.{name}", place(row), f"the column {name} is not what the receipt says")
            key = event_keys(author, [item["event_id"]])
            self._keys.expect(key, [bytes.fromhex(item["event_hash"])], [row[2]], [row[3]])

    def _check_envelope(self, where: str, row: Row) -> tuple[dict[str, Any], list[bytes]]:
        """The batch's payload, and the leaf hashes of its events."""
        batch_id, payload_sha256, envelope, joined = row
        self._result.bytes += len(envelope)
        if _sha256(envelope).digest() != batch_id:
            self._result.add("batch.id", where, "the id is not the SHA-256 of the envelope")
        hashes = [joined[at : at + _HASH] for at in range(0, len(joined), _HASH)]
        try:
            statement = dsse.read_envelope(envelope, payload_type=dsse.BATCH_TYPE)
            payload = batch_format.read_payload(statement)
        except ProofError as error:
            self._result.add(error.code, where, error.detail)
            return {}, hashes
        if _sha256(statement.payload).digest() != payload_sha256:
            self._result.add("batch.payload_sha256", where, "payload_sha256 is not that of the payload")
        if len(joined) != payload["count"] * _HASH:
            self._result.add(
                "batch.count", where, f"{len(joined)} bytes are not the hashes of {payload['count']} events"
            )
        elif merkle.root(hashes).hex() != payload["root"]:
            self._result.add("batch.root", where, "the event hashes do not give the signed root")
        return payload, hashes

    def _compare_file(self, row: Row) -> None:
        """The published file of a batch."""
        batch_id, _, envelope, event_hashes = row
        path = f"{tiles.BATCHES}/{batch_id.hex()}.json"
        self.part.batch_files += 1
        found = read(self._result, path)
        if found is None:
            self._result.add("batch.file.missing", path, "the file is missing")
        elif found != tiles.batch_file(envelope, event_hashes):
            self._result.add("batch.file.wrong", path, "the file is not what the rows give")

    def _checkpoint_rows(self, after: int) -> Iterator[CheckpointRow]:
        while rows := list(CheckpointRow.objects.filter(size__gt=after).order_by("size")[:_CHECKPOINTS]):
            yield from rows
            after = rows[-1].size

    def _check_checkpoints(self) -> None:
        """Those that the tree has just reached or passed: a checkpoint is only ever over whole batches."""
        while self._next is not None and self._next.size <= self._tree.size:
            row, self._next = self._next, next(self._checkpoints, None)
            self._result.checkpoints += 1
            root = signed_root(
                self._result, row, size=self._tree.size, log_keys=self._log_keys, cosigners=self._cosigners
            )
            self.part.seen.append(Seen(row.size, root, self._tree.low_roots() if root else b""))
