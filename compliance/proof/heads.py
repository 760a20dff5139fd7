"""Heads: the operator's signed word that under one checkpoint these are the last entries of these chains.

A chain shows that nothing is missing before its end; only the operator's word says that it is the end. A later entry
found below the same size is proof against the operator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from compliance.proof import dsse
from compliance.proof.canonical import encode, read_object
from compliance.proof.checkpoint import Checkpoint, is_origin
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey, PublicKey
from compliance.proof.receipt import require_receipt_key
from compliance.proof.shapes import is_hash, is_integer
from compliance.proof.subject import parse as parse_subject
from compliance.proof.times import format_time, parse_time

PLACE: Final = "heads"
_MEMBERS: Final = frozenset(("v", "log", "size", "root", "issued_at", "heads"))


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain."""

    subject: str
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Heads:
    """A heads statement whose form is right. `verify` checks who signed it, and for which tree."""

    envelope: dsse.Envelope
    payload: dict[str, Any]
    heads: Mapping[str, Head]

    def verify(self, keys: Mapping[str, PublicKey], *, checkpoint: Checkpoint) -> None:
        """Raise ProofError unless one of `keys` signed it for this checkpoint: `receipt.key`, `heads.checkpoint`."""
        require_receipt_key(self.envelope, keys, place=PLACE)
        stated = Checkpoint(self.payload["log"], self.payload["size"], bytes.fromhex(self.payload["root"]))
        if stated != checkpoint:
            raise ProofError(
                "heads.checkpoint",
                f"heads of {stated.origin} at size {stated.size}, not of this checkpoint",
                place=PLACE,
            )


def build_payload(*, checkpoint: Checkpoint, issued_at: datetime | str, heads: Iterable[Head]) -> bytes:
    """Canonical payload, heads sorted by subject."""
    return encode(
        {
            "v": 1,
            "log": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "issued_at": issued_at if isinstance(issued_at, str) else format_time(issued_at),
            "heads": [
                {"subject": head.subject, "seq": head.seq, "hash": head.hash.hex()}
                for head in sorted(heads, key=lambda head: head.subject)
            ],
        }
    )


def sign(payload: bytes, key: PrivateKey) -> bytes:
    """The canonical envelope of heads."""
    return dsse.sign(payload=payload, payload_type=dsse.HEADS_TYPE, keys=[key])


def read(data: bytes | dict[str, Any]) -> Heads:
    """The heads in `data`: `json.*`, `envelope.*`, `heads.form`."""
    envelope = dsse.read_envelope(data, payload_type=dsse.HEADS_TYPE, place=PLACE)
    if len(envelope.signatures) != 1:
        raise ProofError("envelope.signatures", "heads have one signature", place=PLACE)
    payload = read_object(
        envelope.payload, max_bytes=dsse.MAX_STATEMENT_BYTES, code="heads.form", what="the payload", place=PLACE
    )
    if payload.keys() != _MEMBERS or type(payload["v"]) is not int or payload["v"] != 1:
        raise ProofError("heads.form", "missing or unknown member, or another version", place=PLACE)
    if not is_origin(payload["log"]) or not is_integer(payload["size"], 1) or not is_hash(payload["root"]):
        raise ProofError("heads.form", "log is an origin, size at least 1, root a hash", place=PLACE)
    parse_time(payload["issued_at"], place=PLACE)
    items = payload["heads"]
    if type(items) is not list or not items:
        raise ProofError("heads.form", "heads is a list, not empty", place=PLACE)
    heads = [_read_head(item, f"{PLACE}/{position}") for position, item in enumerate(items)]
    if any(first.subject >= second.subject for first, second in pairwise(heads)):
        raise ProofError("heads.form", "heads are sorted by subject, none twice", place=PLACE)
    return Heads(envelope, payload, {head.subject: head for head in heads})


def _read_head(item: object, place: str) -> Head:
    if type(item) is not dict or item.keys() != {"subject", "seq", "hash"}:
        raise ProofError("heads.form", "a head has subject, seq and hash", place=place)
    try:
        parse_subject(item["subject"])
    except ProofError as error:
        raise error.within(place) from None
    if not is_integer(item["seq"]) or not is_hash(item["hash"]):
        raise ProofError("heads.form", "seq is an integer from 0, hash a leaf hash", place=place)
    return Head(item["subject"], item["seq"], bytes.fromhex(item["hash"]))
