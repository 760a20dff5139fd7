"""DSSE envelopes, `{payload,payloadType,signatures}`: every statement of ours is signed this way, none bare.

What is signed is the pre-authentication encoding of type and payload, so a signature made for one type is worth nothing
under another. Source: https://github.com/secure-systems-lab/dsse, protocol v1.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from compliance.proof import base64_text
from compliance.proof.canonical import encode, read_object
from compliance.proof.errors import ProofError
from compliance.proof.keys import SIGNATURE_BYTES, PublicKey, SigningKey, is_keyid

BATCH_TYPE: Final = "application/vnd.meterproof.batch+json"
RECEIPT_TYPE: Final = "application/vnd.meterproof.receipt+json"
HEADS_TYPE: Final = "application/vnd.meterproof.heads+json"
PAYLOAD_TYPES: Final = (BATCH_TYPE, RECEIPT_TYPE, HEADS_TYPE)
EXTRA_NAMES: Final = ("payloadType",)  # DSSE's spelling, the one exception to our member names

MAX_BATCH_ENVELOPE_BYTES: Final = 16 * 1024  # a payload of fixed members and eight signatures need a quarter of it
MAX_STATEMENT_BYTES: Final = 64 * 1024 * 1024  # a receipt of 100,000 entries
MAX_SIGNATURES: Final = 8

_MEMBERS: Final = {"payload", "payloadType", "signatures"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope of the right form. Nothing is verified until `verify`."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]
    canonical: bytes

    @property
    def id(self) -> str:
        """Hex SHA-256 of the canonical envelope; of a batch, its id."""
        return hashlib.sha256(self.canonical).hexdigest()

    @property
    def keyids(self) -> tuple[str, ...]:
        """Ids of the keys that are said to have signed, sorted."""
        return tuple(keyid for keyid, _ in self.signatures)

    def verify(self, keys: Mapping[str, PublicKey], *, place: str | None = None) -> None:
        """Raise ProofError unless every signature present is of one of `keys` and verifies."""
        message = pre_authentication_encoding(self.payload_type, self.payload)
        for keyid, signature in self.signatures:
            if keyid not in keys:
                raise ProofError("key.unknown", f"{keyid} is not registered", place=place)
            if not keys[keyid].signed(signature, message):
                raise ProofError("envelope.signature", f"the signature of {keyid} does not verify", place=place)

    def to_object(self) -> dict[str, Any]:
        """The envelope as a JSON object, for a bundle or a JSON batch."""
        return _object_of(self.payload, self.payload_type, self.signatures)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: `DSSEv1 len(type) type len(payload) payload`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(*, payload: bytes, payload_type: str, keys: Sequence[SigningKey]) -> bytes:
    """The canonical envelope over `payload` with a signature of each key, sorted by key id."""
    message = pre_authentication_encoding(payload_type, payload)
    signatures = sorted((key.public.keyid, key.sign(message)) for key in keys)
    _require_signatures([keyid for keyid, _ in signatures], None)
    return spell(payload, payload_type, signatures)


def spell(payload: bytes, payload_type: str, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """The canonical bytes of an envelope, spliced: base64, our payload types and key ids never need escaping, and a
    receipt of half a megabyte is not read once more to see that.
    """
    spelled = b",".join(
        b'{"keyid":"%b","sig":"%b"}' % (keyid.encode(), b64encode(signature)) for keyid, signature in signatures
    )
    return b'{"payload":"%b","payloadType":"%b","signatures":[%b]}' % (
        b64encode(payload),
        payload_type.encode(),
        spelled,
    )


def read_envelope(data: bytes | dict[str, Any], *, payload_type: str, place: str | None = None) -> Envelope:
    """The envelope in `data`: its canonical bytes, or the object inside a bundle or a JSON batch.

    Raises ProofError: `json.*`, `envelope.size`, `envelope.form`, `envelope.payload_type`, `envelope.signatures`.
    """
    limit = MAX_BATCH_ENVELOPE_BYTES if payload_type == BATCH_TYPE else MAX_STATEMENT_BYTES
    canonical = encode(data) if isinstance(data, dict) else data
    if len(canonical) > limit:
        raise ProofError("envelope.size", f"an envelope of {len(canonical)} bytes, at most {limit}", place=place)
    if isinstance(data, dict):
        value = data
    else:
        value = read_object(
            data, max_bytes=limit, code="envelope.form", what="an envelope", extra_names=EXTRA_NAMES, place=place
        )
    return _check(value, canonical, payload_type, place)


def _check(value: dict[str, Any], canonical: bytes, payload_type: str, place: str | None) -> Envelope:
    if value.keys() != _MEMBERS:
        raise ProofError("envelope.form", "an envelope has payload, payloadType and signatures", place=place)
    payload = base64_text.decode(value["payload"])
    if payload is None:
        raise ProofError("envelope.form", "the payload is not base64", place=place)
    if value["payloadType"] != payload_type:
        raise ProofError(
            "envelope.payload_type", f"{str(value['payloadType'])[:80]!r} instead of {payload_type}", place=place
        )
    items = value["signatures"]
    if not isinstance(items, list):
        raise ProofError("envelope.form", "signatures is a list", place=place)
    signatures: list[tuple[str, bytes]] = []
    for item in items:
        if not isinstance(item, dict) or item.keys() != {"keyid", "sig"} or not is_keyid(item["keyid"]):
            raise ProofError("envelope.form", "a signature has keyid (sha256:<hex>) and sig", place=place)
        signature = base64_text.decode(item["sig"])
        if signature is None or len(signature) != SIGNATURE_BYTES:
            raise ProofError("envelope.form", f"a signature is base64 of {SIGNATURE_BYTES} bytes", place=place)
        signatures.append((item["keyid"], signature))
    _require_signatures([keyid for keyid, _ in signatures], place)
    return Envelope(payload, payload_type, tuple(signatures), canonical)


def _require_signatures(keyids: list[str], place: str | None) -> None:
    if not 1 <= len(keyids) <= MAX_SIGNATURES:
        raise ProofError("envelope.signatures", f"{len(keyids)} signatures, there are one to eight", place=place)
    if any(first >= second for first, second in pairwise(keyids)):
        raise ProofError("envelope.signatures", "signatures are sorted by keyid, no keyid twice", place=place)


def _object_of(payload: bytes, payload_type: str, signatures: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    return {
        "payload": base64_text.encode(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid, "sig": base64_text.encode(signature)} for keyid, signature in signatures],
    }
