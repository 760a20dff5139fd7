"""ML-DSA-44 (FIPS 204) keys for note lines of type 0x06, and what such a line signs (https://c2sp.org/tlog-cosignature).

Signatures that a quantum computer does not forge, beside Ed25519 ones that it would. Only note lines use them: the
formats of events, receipts and batches know Ed25519 and P-256 alone.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError

PUBLIC_BYTES: Final = 1312
SIGNATURE_BYTES: Final = 2420
MAX_NAME_BYTES: Final = 255  # names are vectors of 1 to 255 bytes in the signed structure
_LABEL: Final = b"subtree/v1\n\x00"
_NUMBER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class PostQuantumKey:
    """A public ML-DSA-44 key by its 1,312 bytes."""

    raw: bytes
    keyid: str
    _loaded: MLDSA44PublicKey = field(repr=False, compare=False)

    @classmethod
    def from_raw(cls, raw: bytes) -> "PostQuantumKey":
        """Raises ProofError `key.form`."""
        try:
            loaded = MLDSA44PublicKey.from_public_bytes(raw)
        except (ValueError, UnsupportedAlgorithm):
            raise ProofError("key.form", f"{len(raw)} bytes are no ML-DSA-44 key that can be used here") from None
        der = loaded.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls(raw, f"sha256:{hashlib.sha256(der).hexdigest()}", loaded)

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            self._loaded.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class PostQuantumPrivateKey:
    """A private ML-DSA-44 key in memory."""

    __slots__ = ("_key", "public")

    def __init__(self, key: MLDSA44PrivateKey) -> None:
        self._key = key
        self.public = PostQuantumKey.from_raw(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> "PostQuantumPrivateKey":
        """A new key. Raises ProofError `key.form` where the cryptography library has no ML-DSA."""
        try:
            return cls(MLDSA44PrivateKey.generate())
        except UnsupportedAlgorithm:
            raise ProofError("key.form", "the cryptography library here has no ML-DSA-44") from None

    @classmethod
    def from_pem(cls, pem: bytes) -> "PostQuantumPrivateKey":
        """The key of a PKCS #8 PEM file. Raises ProofError `key.form`."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ProofError("key.form", "not a private key in PEM that can be used here") from None
        if not isinstance(key, MLDSA44PrivateKey):
            raise ProofError("key.form", "a private key, but not of ML-DSA-44")
        return cls(key)

    def to_pem(self) -> bytes:
        """PKCS #8 PEM, as a seed of 32 bytes."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        """2,420 bytes over `message`, without a context."""
        return self._key.sign(message)


def cosigned_message(text: str, *, name: str, time: int) -> bytes:
    """What the cosigner `name` signs over the checkpoint `text` at posix `time`: the structure `cosigned_message`.

    A checkpoint is the subtree from leaf 0 to its size. Raises ProofError: `checkpoint.form`, `note.form`.
    """
    checkpoint = Checkpoint.from_extended_text(text)
    numbers = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in (0, checkpoint.size))
    return b"".join(
        (
            _LABEL,
            _vector(name.encode()),
            time.to_bytes(_NUMBER_BYTES, "big"),
            _vector(checkpoint.origin.encode()),
            numbers,
            checkpoint.root,
        )
    )


def _vector(data: bytes) -> bytes:
    if not 1 <= len(data) <= MAX_NAME_BYTES:
        raise ProofError("note.form", f"a name of {len(data)} bytes; there are 1 to {MAX_NAME_BYTES}")
    return bytes([len(data)]) + data
