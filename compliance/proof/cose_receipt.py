"""COSE receipts of RFC 9942 over the log's tree (vds 1, RFC9162_SHA256): of inclusion, and of consistency.

The payload is detached: the root of the tree, which a verifier computes from entry (or older root) and path. RFC 9942
leaves the proof outside the signature, so tree size and leaf index could be changed for others that give the same way
up the tree; our receipts repeat them as claims inside it. They are receipts by RFC 9942 but not SCITT (RFC 9943):
what is registered here are the log's entries, JSON, not COSE Signed Statements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from compliance.proof import cbor, cose, merkle
from compliance.proof.cose import CLAIMS, ISSUED_AT, ISSUER, KEY_ID, SUBJECT, THUMBPRINT_BYTES, Sign1
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey, PublicKey
from compliance.proof.shapes import is_integer
from compliance.proof.subject import log as log_subject
from compliance.proof.times import format_posix

MEDIA_TYPE: Final = 'application/cose; cose-type="cose-sign1"'  # RFC 9052 section 11.3
KEY_SET_MEDIA_TYPE: Final = "application/cose-key-set"
SUFFIX: Final = ".cose"
MAX_BYTES: Final = 8_192  # headers, and a path of the largest tree, 63 hashes

STRUCTURE: Final = 395  # "vds"
RFC9162_SHA256: Final = 1
PROOFS: Final = 396  # "vdp"
INCLUSION: Final = -1
CONSISTENCY: Final = -2
# Private use in the registry of CWT claims (below -65536): the numbers of the proof, under the signature.
FIRST_NUMBER: Final = -65_537  # tree size; of a consistency receipt that of the older tree
SECOND_NUMBER: Final = -65_538  # leaf index; of a consistency receipt the size of the newer tree

_HEADERS: Final = {cose.ALGORITHM, KEY_ID, CLAIMS, STRUCTURE}
_CLAIMS: Final = {ISSUER, SUBJECT, ISSUED_AT, FIRST_NUMBER, SECOND_NUMBER}
MAX_TIME: Final = 253_402_300_799  # the last second of the year 9999
_PROOF_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class InclusionReceipt:
    """Leaf `index` of the tree of `size` leaves is an entry of `subject`, by the operator's signature over the root."""

    signed: Sign1
    issuer: str
    subject: str
    issued_at: str
    size: int
    index: int
    path: tuple[bytes, ...]

    def verify(self, keys: Mapping[str, PublicKey], *, log: str, entry: bytes, subject: str) -> bytes:
        """The root, which one of `keys` signed for `log` and under which `entry`, of `subject`, is leaf `index`.

        Raises ProofError: `receipt.key`, `receipt.log`, `cose.*`, `proof.inclusion`.
        """
        key = key_of(self.signed, keys)
        _require_log(self.issuer, log)
        if self.subject != subject:
            raise ProofError("cose.claims", f"a receipt of {self.subject}, the entry is of {subject}")
        root = merkle.inclusion_root(
            leaf_hash=merkle.leaf_hash(entry), index=self.index, size=self.size, path=self.path
        )
        self.signed.verify(key, root)
        return root


@dataclass(frozen=True, slots=True)
class ConsistencyReceipt:
    """The tree of `first` leaves is the beginning of that of `second`, signed over the newer root."""

    signed: Sign1
    issuer: str
    subject: str
    issued_at: str
    first: int
    second: int
    path: tuple[bytes, ...]

    def verify(self, keys: Mapping[str, PublicKey], *, log: str, first_root: bytes) -> bytes:
        """The newer root, signed by one of `keys` for `log`, with the tree of `first_root` at its beginning.

        Raises ProofError: `receipt.key`, `receipt.log`, `cose.*`, `proof.consistency`.
        """
        key = key_of(self.signed, keys)
        _require_log(self.issuer, log)
        if self.subject != log_subject(log):
            raise ProofError("cose.claims", f"a receipt of {self.subject}, not of the log")
        root = merkle.consistency_root(
            first_size=self.first, second_size=self.second, first_root=first_root, path=self.path
        )
        self.signed.verify(key, root)
        return root


def sign_inclusion(
    *, log: str, subject: str, index: int, size: int, path: Sequence[bytes], root: bytes, at: int, key: PrivateKey
) -> bytes:
    """The receipt, issued at posix second `at`, that an entry of `subject` is leaf `index` of the tree of `size`.

    Raises ProofError `cose.form` for a tree of one leaf: RFC 9942 asks for a path of one hash at least.
    """
    return _sign(log, subject, INCLUSION, (size, index), path, root, at, key)


def sign_consistency(
    *, log: str, first: int, second: int, path: Sequence[bytes], root: bytes, at: int, key: PrivateKey
) -> bytes:
    """The receipt that the tree of `first` leaves is the beginning of that of `second` with `root`.

    Raises ProofError `cose.form` if there is nothing to prove: equal sizes, or an empty older tree.
    """
    return _sign(log, log_subject(log), CONSISTENCY, (first, second), path, root, at, key)


def read(data: bytes, *, place: str | None = None) -> InclusionReceipt | ConsistencyReceipt:
    """The receipt in `data`. Raises ProofError: `cbor.*`, `cose.form`, `cose.claims`."""
    if len(data) > MAX_BYTES:
        raise ProofError("cbor.size", f"{len(data)} bytes, at most {MAX_BYTES}", place=place)
    signed = cose.read(data, place=place)
    issuer, subject, issued_at, claimed = _read_headers(signed.headers)
    kind, numbers, path = _read_proof(signed.unprotected)
    if claimed != numbers:
        raise ProofError("cose.claims", f"the proof speaks of {numbers}, the signed claims of {claimed}", place=place)
    if kind == INCLUSION:
        size, index = numbers
        return InclusionReceipt(signed, issuer, subject, issued_at, size, index, path)
    first, second = numbers
    return ConsistencyReceipt(signed, issuer, subject, issued_at, first, second, path)


def _sign(
    log: str,
    subject: str,
    kind: int,
    numbers: tuple[int, int],
    path: Sequence[bytes],
    root: bytes,
    at: int,
    key: PrivateKey,
) -> bytes:
    if not path:
        raise ProofError("cose.form", "a receipt has a path of one hash at least")
    claims = {ISSUER: log, SUBJECT: subject, ISSUED_AT: at, FIRST_NUMBER: numbers[0], SECOND_NUMBER: numbers[1]}
    proof = cbor.encode([*numbers, list(path)])
    return cose.sign(
        headers={CLAIMS: claims, STRUCTURE: RFC9162_SHA256},
        unprotected={PROOFS: {kind: [proof]}},
        payload=root,
        key=key,
    )


def _read_headers(headers: Mapping[int | str, Any]) -> tuple[str, str, str, tuple[int, int]]:
    if headers.keys() != _HEADERS:
        raise ProofError("cose.form", "the protected header has algorithm, key id, claims and vds (1, 4, 15, 395)")
    if type(headers[STRUCTURE]) is not int or headers[STRUCTURE] != RFC9162_SHA256:
        raise ProofError("cose.form", "the verifiable data structure is not RFC9162_SHA256 (1)")
    if type(headers[KEY_ID]) is not bytes or len(headers[KEY_ID]) != THUMBPRINT_BYTES:
        raise ProofError("cose.form", "the key id is a thumbprint of 32 bytes")
    claims = headers[CLAIMS]
    if type(claims) is not dict or claims.keys() != _CLAIMS:
        raise ProofError("cose.claims", "the claims are issuer, subject, time, and the two numbers of the proof")
    if type(claims[ISSUER]) is not str or type(claims[SUBJECT]) is not str:
        raise ProofError("cose.claims", "issuer and subject are text")
    if not is_integer(claims[ISSUED_AT], most=MAX_TIME):
        raise ProofError("cose.claims", "the time of issue is in whole seconds from 1970 to the year 9999")
    numbers = claims[FIRST_NUMBER], claims[SECOND_NUMBER]
    if not all(is_integer(number) for number in numbers):
        raise ProofError("cose.claims", "the numbers of the proof are integers from 0")
    return claims[ISSUER], claims[SUBJECT], format_posix(claims[ISSUED_AT]), numbers


def _read_proof(unprotected: Mapping[int | str, Any]) -> tuple[int, tuple[int, int], tuple[bytes, ...]]:
    proofs = unprotected.get(PROOFS)
    if len(unprotected) != 1 or type(proofs) is not dict or len(proofs) != 1:
        raise ProofError("cose.form", "the unprotected header has the proofs (396) of one kind, and nothing else")
    kind, listed = next(iter(proofs.items()))
    if kind not in (INCLUSION, CONSISTENCY) or type(listed) is not list or len(listed) != 1:
        raise ProofError("cose.form", "one proof, of inclusion (-1) or of consistency (-2)")
    if type(listed[0]) is not bytes:
        raise ProofError("cose.form", "a proof is CBOR inside bytes")
    parts = cbor.decode(listed[0], place="proof")
    if type(parts) is not list or len(parts) != _PROOF_PARTS or not all(is_integer(part) for part in parts[:2]):
        raise ProofError("cose.form", "a proof is two integers and a path", place="proof")
    first, second, path = parts
    if type(path) is not list or not 1 <= len(path) <= merkle.MAX_PATH:
        raise ProofError("cose.form", f"a path of 1 to {merkle.MAX_PATH} hashes", place="proof")
    if not all(type(sibling) is bytes and len(sibling) == merkle.HASH_BYTES for sibling in path):
        raise ProofError("cose.form", "a path holds hashes of 32 bytes", place="proof")
    return kind, (first, second), tuple(path)


def key_of(signed: Sign1, keys: Mapping[str, PublicKey]) -> PublicKey:
    """That of `keys` which a receipt names. Raises ProofError `receipt.key`."""
    for key in keys.values():
        if cose.thumbprint(key) == signed.headers[KEY_ID]:
            return key
    raise ProofError("receipt.key", f"the key {signed.headers[KEY_ID].hex()} is not one of your receipt keys")


def _require_log(issuer: str, log: str) -> None:
    if issuer != log:
        raise ProofError("receipt.log", f"a receipt of the log {issuer}, not of {log}")
