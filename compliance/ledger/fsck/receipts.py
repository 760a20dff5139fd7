"""Receipts held against the entries they promise.

The usual receipt is spelled again from the entries, as `proof.receipt` spells it, and compared byte for byte; only its
last members are read. A receipt that is spelled otherwise is parsed, and what it says decides.
"""

import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from django.conf import settings

from compliance.ledger.fsck.entries import Row, Said, place
from compliance.ledger.fsck.problems import FsckResult
from compliance.proof import dsse
from compliance.proof import receipt as receipt_format
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.subject import key_of

_OPENING: Final = b'{"payload":"'
_CLOSING: Final = b'","payloadType":"'
_AFTER_ENTRIES: Final = b'],"first":'
_LAST_MEMBERS: Final = frozenset(("first", "issued_at", "log", "merge_by", "refused", "v"))
_TAIL: Final = 1_200  # base64 digits, whole groups of four; the last members with a few refusals
_decode = msgspec.json.Decoder().decode


class ReceiptReader:
    """Notes in `result` which receipts promise something else than is stored."""

    def __init__(self, result: FsckResult, log_keys: LogKeys) -> None:
        self._result = result
        self._keys = log_keys.receipt_keys

    def recognise(self, row: Row, entries: str, count: int) -> bool:
        """Whether the receipt `row` is, byte for byte, one for exactly these entries of `count` events, none of them a
        duplicate, under our signature. False if this cannot tell: then `check` must. Nothing is noted here.
        """
        batch, first, envelope = row
        closing = envelope.rfind(_CLOSING)
        spelled = envelope[len(_OPENING) : closing]
        try:
            tail = binascii.a2b_base64(spelled[-_TAIL:])
            after = tail[tail.rindex(_AFTER_ENTRIES) :]
            last = _decode(b"{" + after[2:])
            payload = f'{{"batch":"{batch.hex()}","count":{count},"duplicates":[],"entries":[{entries}'.encode() + after
            if (
                closing < 0
                or len(envelope) > dsse.MAX_STATEMENT_BYTES
                or binascii.b2a_base64(payload, newline=False) != spelled
                or last.keys() != _LAST_MEMBERS
                or last["log"] != settings.METERPROOF["ORIGIN"]
                or last["first"] != first
            ):
                return False
            frame = dsse.read_envelope(_OPENING + envelope[closing:], payload_type=dsse.RECEIPT_TYPE)
            receipt_format.require_receipt_key(replace(frame, payload=payload), self._keys)
        except (ValueError, ProofError):
            return False
        self._result.bytes += len(envelope)
        return True

    def promised(self, receipts: Sequence[Row]) -> dict[str, Any]:
        """What well-formed `receipts` say of each entry, by its hash. `check` notes what is wrong with the others."""
        found: dict[str, Any] = {}
        for _, _, envelope in receipts:
            try:
                found |= {item["hash"]: item for item in receipt_format.read(envelope).payload["entries"]}
            except ProofError:
                continue
        return found

    def check(self, row: Row, rows: Sequence[Row], said: Sequence[Said | None], event_hashes: Sequence[bytes]) -> None:
        """Compare the receipt `row` with `rows`, all entries of its batch, and what they say. Notes what is wrong."""
        self._result.bytes += len(row[2])
        where = f"receipt {row[0].hex()}/{row[1]}"
        try:
            self._check(where, row, rows, said, event_hashes)
        except ProofError as error:
            self._result.add(error.code, where, str(error))
        except ValueError as error:
            self._result.add("receipt.form", where, str(error))

    def _check(
        self,
        where: str,
        row: Row,
        rows: Sequence[Row],
        said: Sequence[Said | None],
        event_hashes: Sequence[bytes],
    ) -> None:
        batch, first, envelope = row
        statement = dsse.read_envelope(envelope, payload_type=dsse.RECEIPT_TYPE)
        receipt_format.require_receipt_key(statement, self._keys)
        payload = _decode(statement.payload)
        if (
            payload["log"] != settings.METERPROOF["ORIGIN"]
            or payload["batch"] != batch.hex()
            or payload["first"] != first
            or payload["count"] != len(event_hashes)
        ):
            self._result.add("receipt.batch", where, "it is about another batch")
        promised: dict[int, Any] = {item["index"]: item for item in payload["entries"]}
        for index in sorted(promised.keys() - {entry[1] for entry in rows}):
            item = promised[index]
            lost = f"entry {key_of(item['subject']).hex()}/{item['seq']}"
            self._result.add("entry.missing", lost, f"the receipt of batch {batch.hex()} promises it at index {index}")
        for entry, stated in zip(rows, said, strict=True):
            item = promised.get(entry[1])
            if item is None or item["hash"] != entry[5].hex():
                self._result.add("receipt.entries", where, f"it does not promise {place(entry)} as it is stored")
            elif stated is not None and item["event_hash"] != stated[1].hex():
                self._result.add("receipt.entries", where, f"it promises another event for {place(entry)}")
