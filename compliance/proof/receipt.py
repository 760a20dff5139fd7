"""Receipts: the platform's signed word, given after the commit, on what became of the events of a batch.

A receipt whose entries are not under a checkpoint after `merge_by` is proof against the operator.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec

from compliance.proof import dsse
from compliance.proof.canonical import encode, read_object
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey, PublicKey
from compliance.proof.shapes import is_event_id, is_hash, is_integer, is_slug
from compliance.proof.subject import parse as parse_subject
from compliance.proof.times import format_time, parse_recorded_at, parse_time

MAX_COUNT: Final = 100_000
_MEMBERS: Final = frozenset(
    ("v", "log", "batch", "first", "count", "issued_at", "merge_by", "entries", "duplicates", "refused")
)
_NO_ENTRIES: Final = b',"entries":[]'
_ENTRY: Final = frozenset(("event_id", "event_hash", "index", "subject", "seq", "prev", "hash", "recorded_at"))


class ReceiptEntry(msgspec.Struct, frozen=True, gc=False):
    """One event that became an entry. Hashes are raw bytes."""

    event_id: str
    event_hash: bytes
    index: int
    subject: str
    seq: int
    prev: bytes | None
    hash: bytes
    recorded_at: str

    def spell(self) -> bytes:
        """The canonical bytes, spliced: hex, integers, times, event ids and subject texts never need escaping."""
        return (
            b'{"event_hash":"%b","event_id":"%b","hash":"%b","index":%d,'
            b'"prev":%b,"recorded_at":"%b","seq":%d,"subject":"%b"}'
        ) % (
            self.event_hash.hex().encode(),
            self.event_id.encode(),
            self.hash.hex().encode(),
            self.index,
            b"null" if self.prev is None else b'"%b"' % self.prev.hex().encode(),
            self.recorded_at.encode(),
            self.seq,
            self.subject.encode(),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt whose form is right. `verify` checks who signed it."""

    envelope: dsse.Envelope
    payload: dict[str, Any]

    def verify(self, keys: Mapping[str, PublicKey], *, log: str) -> None:
        """Raise ProofError unless one of `keys` signed it for `log`: `receipt.*`, `envelope.signature`."""
        require_receipt_key(self.envelope, keys)
        if self.payload["log"] != log:
            raise ProofError("receipt.log", f"a receipt of the log {self.payload['log']}, not of {log}")


def build_payload(
    *,
    log: str,
    batch: str,
    first: int,
    count: int,
    issued_at: datetime | str,
    merge_by: datetime | str,
    entries: Iterable[ReceiptEntry],
    duplicates: Iterable[tuple[int, str]] = (),
    refused: Iterable[tuple[int, str]] = (),
) -> bytes:
    """Canonical payload. `duplicates` are (index, batch that recorded it first), `refused` (index, problem slug)."""
    spelled = b",".join([item.spell() for item in sorted(entries, key=attrgetter("index"))])
    return splice_payload(
        log=log,
        batch=batch,
        first=first,
        count=count,
        issued_at=issued_at,
        merge_by=merge_by,
        entries=spelled,
        duplicates=duplicates,
        refused=refused,
    )


def splice_payload(
    *,
    log: str,
    batch: str,
    first: int,
    count: int,
    issued_at: datetime | str,
    merge_by: datetime | str,
    entries: bytes,
    duplicates: Iterable[tuple[int, str]] = (),
    refused: Iterable[tuple[int, str]] = (),
) -> bytes:
    """As `build_payload`, around `entries` that are spelled already: sorted by index, with commas between them."""
    around = encode(
        {
            "v": 1,
            "log": log,
            "batch": batch,
            "first": first,
            "count": count,
            "issued_at": issued_at if isinstance(issued_at, str) else format_time(issued_at),
            "merge_by": merge_by if isinstance(merge_by, str) else format_time(merge_by),
            "entries": [],
            "duplicates": [{"index": index, "batch": where} for index, where in sorted(duplicates)],
            "refused": [{"index": index, "code": code} for index, code in sorted(refused)],
        }
    )
    before, place, after = around.partition(_NO_ENTRIES)  # no text can hold it: a quote inside a string is escaped
    return before + place[:-1] + entries + place[-1:] + after


def sign(payload: bytes, key: PrivateKey) -> bytes:
    """The canonical envelope of a receipt."""
    return dsse.sign(payload=payload, payload_type=dsse.RECEIPT_TYPE, keys=[key])


def read(data: bytes, *, place: str | None = None) -> Receipt:
    """The receipt in `data`: `json.*`, `envelope.*`, `receipt.form`, `receipt.coverage`."""
    envelope = dsse.read_envelope(data, payload_type=dsse.RECEIPT_TYPE, place=place)
    if len(envelope.signatures) != 1:
        raise ProofError("envelope.signatures", "a receipt has one signature", place=place)
    payload = read_object(
        envelope.payload, max_bytes=dsse.MAX_STATEMENT_BYTES, code="receipt.form", what="a receipt", place="payload"
    )
    _check(payload)
    return Receipt(envelope, payload)


def require_receipt_key(envelope: dsse.Envelope, keys: Mapping[str, PublicKey], *, place: str | None = None) -> None:
    """Raise ProofError unless the envelope (receipt or heads) is signed by one of the receipt keys `keys`."""
    for keyid in envelope.keyids:
        if keyid not in keys:
            raise ProofError("receipt.key", f"{keyid} is not one of your receipt keys", place=place)
    envelope.verify(keys, place=place)


def _check(payload: Mapping[str, Any]) -> None:
    if payload.keys() != _MEMBERS or type(payload["v"]) is not int or payload["v"] != 1:
        raise ProofError("receipt.form", "missing or unknown member, or another version")
    if not is_origin(payload["log"]) or not is_hash(payload["batch"]):
        raise ProofError("receipt.form", "log is an origin, batch a batch id")
    first, count = payload["first"], payload["count"]
    if not is_integer(first, most=MAX_COUNT - 1) or not is_integer(count, 1, MAX_COUNT):
        raise ProofError("receipt.form", "first is a position from 0, count at least 1")
    if parse_time(payload["merge_by"]) < parse_time(payload["issued_at"]):
        raise ProofError("receipt.form", "merge_by lies before issued_at")
    for member in ("entries", "duplicates", "refused"):
        if type(payload[member]) is not list:
            raise ProofError("receipt.form", f"{member} is a list")
    for position, item in enumerate(payload["entries"]):
        _check_entry(item, f"entries/{position}")
    for position, item in enumerate(payload["duplicates"]):
        if type(item) is not dict or item.keys() != {"index", "batch"} or not is_hash(item["batch"]):
            raise ProofError("receipt.form", "a duplicate has index and batch", place=f"duplicates/{position}")
    for position, item in enumerate(payload["refused"]):
        if type(item) is not dict or item.keys() != {"index", "code"} or not is_slug(item["code"]):
            raise ProofError("receipt.form", "a refusal has index and code", place=f"refused/{position}")
    _require_coverage([payload["entries"], payload["duplicates"], payload["refused"]], first, count)


def _check_entry(item: object, place: str) -> None:
    if type(item) is not dict or item.keys() != _ENTRY:
        raise ProofError("receipt.form", "an entry has " + ", ".join(sorted(_ENTRY)), place=place)
    hashes = item["event_hash"], item["hash"]
    if not is_event_id(item["event_id"]) or not all(is_hash(text) for text in hashes):
        raise ProofError("receipt.form", "event_id, event_hash and hash", place=place)
    seq, prev = item["seq"], item["prev"]
    if not is_integer(seq) or ((prev is not None) if seq == 0 else not is_hash(prev)):
        raise ProofError("receipt.form", "seq is an integer from 0, prev null at seq 0, else a leaf hash", place=place)
    parse_recorded_at(item["recorded_at"], place=place)
    try:
        parse_subject(item["subject"])
    except ProofError as error:
        raise error.within(place) from None


def _require_coverage(groups: Sequence[list[dict[str, Any]]], first: int, count: int) -> None:
    covered: list[int] = []
    for group in groups:
        positions = [item["index"] for item in group]
        if not all(is_integer(position, most=MAX_COUNT - 1) for position in positions) or positions != sorted(
            positions
        ):
            raise ProofError("receipt.form", "positions are integers, sorted")
        covered += positions
    if sorted(covered) != list(range(first, first + count)):
        raise ProofError(
            "receipt.coverage", f"not every position from {first} to {first + count - 1} occurs exactly once"
        )
