"""COSE_Sign1 of RFC 9052 with a detached payload, and the receipt key as a COSE_Key with its thumbprint (RFC 9679).

Only what receipts need: one signer, Ed25519 (EdDSA, -8) or ECDSA P-256 (ES256, -7). The algorithm is that of the
known key; a header that says another is refused. What is signed begins with the array head and "Signature1", so the
same key's DSSE statements (which begin with "DSSEv1") can never be taken for it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from compliance.proof import cbor
from compliance.proof.cbor import Tagged
from compliance.proof.errors import ProofError
from compliance.proof.keys import ED25519, SIGNATURE_BYTES, PrivateKey, PublicKey

SIGN1_TAG: Final = 18
ALGORITHM: Final = 1  # header parameters, RFC 9052 section 3.1
KEY_ID: Final = 4
CLAIMS: Final = 15  # RFC 9597
ISSUER: Final = 1  # CWT claims, RFC 8392
SUBJECT: Final = 2
ISSUED_AT: Final = 6
EDDSA: Final = -8
ES256: Final = -7
THUMBPRINT_BYTES: Final = 32

_SIGN1_PARTS: Final = 4
_KEY_TYPE, _KEY_IDENTIFIER, _KEY_ALGORITHM, _CURVE, _X, _Y = 1, 2, 3, -1, -2, -3  # RFC 9052 section 7, RFC 9053
_OCTET_KEY_PAIR, _TWO_COORDINATES = 1, 2
_CURVE_ED25519, _CURVE_P256 = 6, 1
_COORDINATE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1 whose form is right; `protected` are the header's bytes as they were signed."""

    protected: bytes
    headers: Mapping[int | str, Any]
    unprotected: Mapping[int | str, Any]
    signature: bytes

    def verify(self, key: PublicKey, payload: bytes) -> None:
        """Raise ProofError `cose.algorithm`, `cose.signature` unless `key` signed these headers over `payload`."""
        if self.headers.get(ALGORITHM) != algorithm_of(key):
            raise ProofError("cose.algorithm", f"the header names another algorithm than the key's, {key.algorithm}")
        if not key.signed(self.signature, to_be_signed(self.protected, payload)):
            raise ProofError("cose.signature", f"the signature of {key.keyid} is not over this")


def sign(
    *, headers: Mapping[int | str, Any], unprotected: Mapping[int | str, Any], payload: bytes, key: PrivateKey
) -> bytes:
    """The tagged COSE_Sign1 over the detached `payload`; algorithm and key id are added to the protected `headers`."""
    protected = cbor.encode({**headers, ALGORITHM: algorithm_of(key.public), KEY_ID: thumbprint(key.public)})
    signature = key.sign(to_be_signed(protected, payload))
    return cbor.encode(Tagged(SIGN1_TAG, [protected, unprotected, None, signature]))


def read(data: bytes, *, place: str | None = None) -> Sign1:
    """The COSE_Sign1 in `data`. Raises ProofError: `cbor.*`, `cose.form`."""
    value = cbor.decode(data, place=place)
    if not isinstance(value, Tagged) or value.tag != SIGN1_TAG:
        raise ProofError("cose.form", f"not a CBOR value with the tag {SIGN1_TAG} of COSE_Sign1", place=place)
    parts = value.value
    if type(parts) is not list or len(parts) != _SIGN1_PARTS:
        raise ProofError("cose.form", "a COSE_Sign1 has four parts", place=place)
    protected, unprotected, payload, signature = parts
    if type(protected) is not bytes or type(unprotected) is not dict:
        raise ProofError("cose.form", "the protected header is bytes, the unprotected a map", place=place)
    if payload is not None:
        raise ProofError("cose.form", "the payload is detached, so that it has to be computed", place=place)
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise ProofError("cose.form", f"the signature is {SIGNATURE_BYTES} bytes", place=place)
    headers = cbor.decode(protected, place="protected header")
    if type(headers) is not dict:
        raise ProofError("cose.form", "the protected header is a map", place=place)
    return Sign1(protected, headers, unprotected, signature)


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4, without external data."""
    return cbor.encode(["Signature1", protected, b"", payload])


def algorithm_of(key: PublicKey) -> int:
    """EdDSA or ES256, as the key is."""
    return EDDSA if key.algorithm == ED25519 else ES256


def thumbprint(key: PublicKey) -> bytes:
    """SHA-256 thumbprint of the COSE_Key, by RFC 9679: the key id of our receipts."""
    return hashlib.sha256(cbor.encode(_required_parameters(key))).digest()


def key_set(keys: Mapping[str, PublicKey]) -> bytes:
    """The COSE_KeySet (RFC 9052 section 7) of `keys`, sorted by their ids."""
    return cbor.encode(
        [
            {**_required_parameters(key), _KEY_IDENTIFIER: thumbprint(key), _KEY_ALGORITHM: algorithm_of(key)}
            for _, key in sorted(keys.items())
        ]
    )


def _required_parameters(key: PublicKey) -> dict[int | str, Any]:
    if key.algorithm == ED25519:
        return {_KEY_TYPE: _OCTET_KEY_PAIR, _CURVE: _CURVE_ED25519, _X: key.raw}
    point = key.der[-2 * _COORDINATE_BYTES :]  # the key's one DER spelling ends with the uncompressed point
    x, y = point[:_COORDINATE_BYTES], point[_COORDINATE_BYTES:]
    return {_KEY_TYPE: _TWO_COORDINATES, _CURVE: _CURVE_P256, _X: x, _Y: y}
