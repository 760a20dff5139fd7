"""Bytes against columns, in the order of the log: each entry, batch, receipt, event key and leaf range."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from django.conf import settings

from compliance.ledger import selectors, store
from compliance.ledger.append import event_key
from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.fsck.published import PublishedLog
from compliance.ledger.models import LogState
from compliance.ledger.store import KnownEvent
from compliance.proof import batch as batch_format
from compliance.proof import dsse, merkle
from compliance.proof import receipt as receipt_format
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.subject import key_of
from compliance.proof.subject import log as log_subject
from compliance.proof.times import parse_recorded_at

PAGE: Final = 4_096  # entries in memory at a time, unless one batch has more
_HASH: Final = merkle.HASH_BYTES
_decode = msgspec.json.Decoder().decode
_sha256 = hashlib.sha256

_ENTRIES: Final = (
    'SELECT batch, "index", subject, seq, prev, hash, body, recorded_at FROM ledger_entry '
    'WHERE {} ORDER BY batch, "index"'
)
_BATCHES: Final = "SELECT id, payload_sha256, envelope, event_hashes FROM ledger_batch WHERE {}"
_RECEIPTS: Final = "SELECT batch, first, envelope FROM ledger_receipt WHERE {} ORDER BY batch, first"
_PLACED: Final = (
    "SELECT first_index, count, batch FROM ledger_leaf_range WHERE first_index >= %s ORDER BY first_index LIMIT 512"
)
_UNPLACED: Final = (
    "SELECT b.id FROM ledger_batch b LEFT JOIN ledger_leaf_range r ON r.batch = b.id "
    "WHERE r.batch IS NULL AND b.id > %s ORDER BY b.id LIMIT 64"
)

Row = tuple[Any, ...]


@dataclass(slots=True)
class _Page:
    """Rows of a few batches."""

    batches: dict[bytes, Row]
    entries: dict[bytes, list[Row]]
    receipts: dict[bytes, list[Row]]


class BytesPass:
    """One walk over all entries. It rebuilds the tree as it goes and hands every leaf to the published log."""

    def __init__(
        self,
        result: FsckResult,
        state: LogState,
        published: PublishedLog,
        log_keys: LogKeys,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._result = result
        self._state = state
        self._published = published
        self._progress = progress or (lambda _done, _total: None)
        self._store = store.current()
        self._edge = merkle.RightEdge()
        self._receipt_keys = log_keys.receipt_keys
        self._stored_times: dict[str, object] = {}
        self._redacted: list[tuple[int, Row]] = []

    def run(self) -> None:
        """Read everything."""
        for ranges in self._placed():
            page = self._read([batch for _, _, batch in ranges])
            for first_index, count, batch in ranges:
                place = f"leaf_range {first_index}"
                if first_index > self._edge.size:
                    detail = f"nothing lies here, the next range begins at {first_index}"
                    self._result.add("leaf_range.missing", f"leaf_range {self._edge.size}", detail)
                elif first_index < self._edge.size:
                    self._result.add("leaf_range.overlap", place, f"the ranges before it end at {self._edge.size}")
                rows = page.entries.get(batch, [])
                if len(rows) != count:
                    self._result.add(
                        "leaf_range.count", place, f"it counts {count} entries, batch {batch.hex()} has {len(rows)}"
                    )
                self._check_batch(batch, page, placed=True)
                self._published.reached(self._edge)
            self._progress(self._result.entries, self._state.size)
        self._compare_state()
        for batches in self._unplaced():
            page = self._read(batches)
            for batch in batches:
                self._check_batch(batch, page, placed=False)
        self._explain_redactions()

    def _placed(self) -> Iterator[list[Row]]:
        """Leaf ranges in order, some thousand entries at a time."""
        next_index = 0
        while found := self._store.select(_PLACED, [next_index]):
            taken: list[Row] = []
            for row in found:
                taken.append(row)
                if sum(count for _, count, _ in taken) >= PAGE:
                    yield taken
                    taken = []
            if taken:
                yield taken
            next_index = found[-1][0] + 1

    def _unplaced(self) -> Iterator[list[bytes]]:
        """Batches without a place: waiting ones, and those whose events were all recorded before or refused."""
        last = b""
        while found := [row[0] for row in self._store.select(_UNPLACED, [last])]:
            yield found
            last = found[-1]

    def _read(self, batches: Sequence[bytes]) -> _Page:
        page = _Page({}, {}, {})
        condition, parameters = self._store.any_of("batch", batches)
        for row in self._store.select(_ENTRIES.format(condition), parameters):
            page.entries.setdefault(row[0], []).append(row)
        for row in self._store.select(_RECEIPTS.format(condition), parameters):
            page.receipts.setdefault(row[0], []).append(row)
        condition, parameters = self._store.any_of("id", batches)
        page.batches = {row[0]: row for row in self._store.select(_BATCHES.format(condition), parameters)}
        return page

    def _check_batch(self, batch: bytes, page: _Page, *, placed: bool) -> None:
        place = f"batch {batch.hex()}"
        rows = page.entries.get(batch, [])
        row = page.batches.get(batch)
        payload: dict[str, Any] = {}
        event_hashes: list[bytes] = []
        if row is None:
            self._result.add("batch.missing", place, "the row is missing")
        else:
            self._result.batches += 1
            payload, event_hashes = self._check_envelope(place, row)
            if placed:
                self._published.batch(*row)
        author = batch_format.author_of(payload) if payload else None
        said = [self._check_entry(entry, author, event_hashes) for entry in rows]
        if author is not None:
            self._check_event_keys(author, rows, said)
        for receipt in page.receipts.get(batch, []):
            self._check_receipt(receipt, rows, said, event_hashes)
        self._redacted += [(self._edge.size + at, entry) for at, entry in enumerate(rows) if not entry[6]]
        for entry in rows if placed else ():
            self._published.leaf(self._edge.size, entry[5], entry[6])
            self._edge.append(entry[5])

    def _check_envelope(self, place: str, row: Row) -> tuple[dict[str, Any], list[bytes]]:
        """The batch's payload, and the leaf hashes of its events."""
        batch_id, payload_sha256, envelope, joined = row
        self._result.bytes += len(envelope)
        if _sha256(envelope).digest() != batch_id:
            self._result.add("batch.id", place, "the id is not the SHA-256 of the envelope")
        hashes = [joined[at : at + _HASH] for at in range(0, len(joined), _HASH)]
        try:
            statement = dsse.read_envelope(envelope, payload_type=dsse.BATCH_TYPE)
            payload = batch_format.read_payload(statement)
        except ProofError as error:
            self._result.add(error.code, place, error.detail)
            return {}, hashes
        if _sha256(statement.payload).digest() != payload_sha256:
            self._result.add("batch.payload_sha256", place, "payload_sha256 is not that of the payload")
        if len(joined) != payload["count"] * _HASH:
            self._result.add(
                "batch.count", place, f"{len(joined)} bytes are not the hashes of {payload['count']} events"
            )
        elif merkle.root(hashes).hex() != payload["root"]:
            self._result.add("batch.root", place, "the event hashes do not give the signed root")
        return payload, hashes

    def _check_entry(self, row: Row, author: str | None, event_hashes: Sequence[bytes]) -> "_Said | None":
        """What the bytes of an entry say, None if it was redacted or cannot be read."""
        batch, index, subject, seq, prev, hash_, body, recorded_at = row
        result = self._result
        result.entries += 1
        if not body:
            result.redacted += 1
            return None
        result.bytes += len(body)
        if _sha256(b"\x00" + body).digest() != hash_:
            result.add("entry.hash", _place(row), "the stored hash is not the leaf hash of the stored bytes")
        try:
            value = _decode(body)
            start, end = body.index(b',"event":') + 9, body.rindex(b',"index":')
            event, text = value["event"], value["subject"]
            wrong = [
                name
                for name, agrees in (
                    ("batch", value["batch"] == batch.hex()),
                    ("index", value["index"] == index),
                    ("subject", key_of(text) == subject),
                    ("seq", value["seq"] == seq),
                    ("prev", value["prev"] == (None if prev is None else prev.hex())),
                    ("recorded_at", self._stored_time(value["recorded_at"]) == recorded_at),
                )
                if not agrees
            ]
            event_hash = _sha256(b"\x00" + body[start:end]).digest()
            said = _Said(event["id"], event_hash, text, value["recorded_at"])
        except (ValueError, KeyError, TypeError, AttributeError, ProofError) as error:
            result.add("entry.form", _place(row), f"the bytes are not an entry: {error}")
            return None
        for name in wrong:
            result.add(f"entry.{name}", _place(row), f"the column {name} is not what the bytes say")
        if author is not None and (not 0 <= index < len(event_hashes) or event_hashes[index] != event_hash):
            result.add("batch.path", _place(row), "its event is not the one signed at this position of the batch")
        return said

    def _stored_time(self, text: str) -> object:
        """As the column must have it. All entries of a batch have one time."""
        if text not in self._stored_times:
            self._stored_times = {text: self._store.stored_time(parse_recorded_at(text))}
        return self._stored_times[text]

    def _check_event_keys(self, author: str, rows: Sequence[Row], said: Sequence["_Said | None"]) -> None:
        wanted = {
            event_key(author, stated.event_id): KnownEvent(stated.event_hash, row[2], row[3])
            for row, stated in zip(rows, said, strict=True)
            if stated is not None
        }
        known = self._store.known_events(list(wanted)) if wanted else {}
        for key, event in wanted.items():
            if known.get(key) != event:
                place = f"event_key {key.hex()}"
                what = "is missing" if key not in known else "names another event or entry"
                self._result.add("event_key.wrong", place, f"it {what}: entry {event.subject.hex()}/{event.seq}")

    def _check_receipt(
        self, row: Row, rows: Sequence[Row], said: Sequence["_Said | None"], event_hashes: Sequence[bytes]
    ) -> None:
        batch, first, envelope = row
        place = f"receipt {batch.hex()}/{first}"
        self._result.bytes += len(envelope)
        try:
            statement = dsse.read_envelope(envelope, payload_type=dsse.RECEIPT_TYPE)
            receipt_format.require_receipt_key(statement, self._receipt_keys)
            payload = _decode(statement.payload)
        except (ProofError, ValueError) as error:
            self._result.add(getattr(error, "code", "receipt.form"), place, str(error))
            return
        if (
            payload["log"] != settings.METERPROOF["ORIGIN"]
            or payload["batch"] != batch.hex()
            or payload["first"] != first
            or payload["count"] != len(event_hashes)
        ):
            self._result.add("receipt.batch", place, "it is about another batch")
        promised = {item["index"]: item for item in payload["entries"]}
        for index in promised.keys() - {entry[1] for entry in rows}:
            item = promised[index]
            lost = f"entry {key_of(item['subject']).hex()}/{item['seq']}"
            self._result.add("entry.missing", lost, f"the receipt of batch {batch.hex()} promises it at index {index}")
        for entry, stated in zip(rows, said, strict=True):
            item = promised.get(entry[1])
            if item is None or item["hash"] != entry[5].hex():
                self._result.add("receipt.entries", place, f"it does not promise {_place(entry)} as it is stored")
            elif stated is not None and item["event_hash"] != stated.event_hash.hex():
                self._result.add("receipt.entries", place, f"it promises another event for {_place(entry)}")

    def _explain_redactions(self) -> None:
        """Bytes may be gone only where an entry of the log's own chain says so."""
        if not self._redacted:
            return
        said = {
            (key_of(data["subject"]), data["seq"], bytes.fromhex(data["hash"]), data["leaf"])
            for stored in selectors.chain(log_subject(settings.METERPROOF["ORIGIN"]))
            if stored.body and stored.event["type"] == "entry.redacted"
            for data in (stored.event["data"],)
        }
        for leaf, row in self._redacted:
            if (row[2], row[3], row[5], leaf) not in said:
                self._result.add("redaction.unexplained", _place(row), "its bytes are gone, and no entry says why")

    def _compare_state(self) -> None:
        state, edge = self._state, self._edge
        self._result.size = edge.size
        if edge.size < state.size:
            detail = f"nothing lies here, although {state.size} entries were integrated"
            self._result.add("leaf_range.missing", f"leaf_range {edge.size}", detail)
        for name, stored, computed in (
            ("size", state.size, edge.size),
            ("root", state.root, edge.root()),
            ("right_edge", state.right_edge, edge.to_bytes()),
        ):
            if stored != computed:
                self._result.add(f"log_state.{name}", "log_state", f"{name} is not that of the entries in the log")


@dataclass(frozen=True, slots=True)
class _Said:
    """What the bytes of an entry say, as far as other tables repeat it."""

    event_id: str
    event_hash: bytes
    subject: str
    recorded_at: str


def _place(row: Row) -> str:
    return f"entry {row[2].hex()}/{row[3]} (batch {row[0].hex()[:16]}, index {row[1]})"
