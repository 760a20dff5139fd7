"""Signing keys of organisations and of the platform: Ed25519, or ECDSA P-256 with SHA-256 and raw r||s signatures.

A key's id is the SHA-256 of its DER SubjectPublicKeyInfo, which has one accepted spelling. The algorithm comes from the
registered key, never from a message.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from compliance.proof import base64_text
from compliance.proof.errors import ProofError

Algorithm = Literal["ed25519", "ecdsa_p256_sha256"]
ED25519: Final = "ed25519"
ECDSA_P256: Final = "ecdsa_p256_sha256"
SIGNATURE_BYTES: Final = 64

_KEYID = re.compile(r"sha256:[0-9a-f]{64}")
_MEMBERS: Final = {"algorithm", "keyid", "public_key"}
_MAX_DER_BYTES: Final = 200  # P-256 needs 91, Ed25519 44
_FIELD: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(  # y of the points of order 1, 2, 4 and 8: anyone can sign under such a "key"
    int.from_bytes(bytes.fromhex(text), "little")
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
_Loaded = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


def is_keyid(text: object) -> bool:
    """Whether `text` has the form of a key id."""
    return type(text) is str and _KEYID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key whose DER was checked: right algorithm, right curve, uncompressed point, nothing around it."""

    algorithm: Algorithm
    der: bytes
    keyid: str
    _loaded: _Loaded = field(repr=False, compare=False)

    @classmethod
    def from_der(cls, der: bytes, *, place: str | None = None) -> "PublicKey":
        """Raises ProofError `key.form` unless `der` is the one spelling of a key of a known algorithm."""
        try:
            loaded = serialization.load_der_public_key(der) if len(der) <= _MAX_DER_BYTES else None
        except (ValueError, UnsupportedAlgorithm):
            loaded = None
        if isinstance(loaded, ed25519.Ed25519PublicKey):
            _require_safe_point(loaded.public_bytes_raw(), place)
            algorithm: Algorithm = "ed25519"
        elif isinstance(loaded, ec.EllipticCurvePublicKey) and isinstance(loaded.curve, ec.SECP256R1):
            algorithm = "ecdsa_p256_sha256"
        else:
            raise ProofError("key.form", "not the DER of an Ed25519 or P-256 public key", place=place)
        if _der_of(loaded) != der:
            raise ProofError("key.form", "the key is not in its one DER spelling", place=place)
        return cls(algorithm, der, f"sha256:{hashlib.sha256(der).hexdigest()}", loaded)

    @classmethod
    def from_raw_ed25519(cls, raw: bytes, *, place: str | None = None) -> "PublicKey":
        """The Ed25519 key of 32 bytes, as signed notes carry it."""
        try:
            return cls.from_der(_der_of(ed25519.Ed25519PublicKey.from_public_bytes(raw)), place=place)
        except (ValueError, UnsupportedAlgorithm):
            raise ProofError("key.form", f"{len(raw)} bytes are no Ed25519 public key", place=place) from None

    @classmethod
    def from_object(cls, value: object, *, place: str | None = None) -> "PublicKey":
        """The key of a key object `{algorithm,keyid,public_key}`."""
        if not isinstance(value, dict) or value.keys() != _MEMBERS:
            raise ProofError("key.form", "a key object has algorithm, keyid and public_key", place=place)
        der = base64_text.decode(value["public_key"])
        if der is None:
            raise ProofError("key.form", "public_key is not base64 of a DER", place=place)
        key = cls.from_der(der, place=place)
        if key.algorithm != value["algorithm"]:
            raise ProofError("key.form", f"the key is of {key.algorithm}, not what its object says", place=place)
        if key.keyid != value["keyid"]:
            raise ProofError("key.form", f"the key's id is {key.keyid}, not what its object says", place=place)
        return key

    def to_object(self) -> dict[str, Any]:
        """The key object."""
        return {"algorithm": self.algorithm, "keyid": self.keyid, "public_key": base64_text.encode(self.der)}

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key. Raises ProofError for another algorithm."""
        if not isinstance(self._loaded, ed25519.Ed25519PublicKey):
            raise ProofError("key.form", "only Ed25519 keys have a raw form here")
        return self._loaded.public_bytes_raw()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise ProofError `envelope.signature` unless `signature` is this key's over `message`."""
        if not self.signed(signature, message):
            raise ProofError("envelope.signature", f"the signature of {self.keyid} does not verify")

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`. Both ECDSA forms, s and n-s, count."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self._loaded, ed25519.Ed25519PublicKey):
                self._loaded.verify(signature, message)
            else:
                half = SIGNATURE_BYTES // 2
                pair = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
                self._loaded.verify(encode_dss_signature(*pair), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class SigningKey(Protocol):
    """What signs: a key in memory, or one in hardware that never leaves it."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message`."""


class PrivateKey:
    """A private key in memory."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey.from_der(_der_of(key.public_key()))

    @classmethod
    def generate(cls, algorithm: str = ED25519) -> "PrivateKey":
        """A new key from the system's randomness."""
        if algorithm == ED25519:
            return cls(ed25519.Ed25519PrivateKey.generate())
        if algorithm == ECDSA_P256:
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise ProofError("key.form", f"no algorithm {algorithm!r}; there are {ED25519} and {ECDSA_P256}")

    @classmethod
    def from_seed(cls, algorithm: str, seed: bytes) -> "PrivateKey":
        """A key that 32 bytes determine: for reproducible demonstrations and tests, never for real keys."""
        if algorithm == ED25519:
            return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        return cls(ec.derive_private_key(int.from_bytes(seed, "big") % (order - 1) + 1, ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> "PrivateKey":
        """The key of a PKCS #8 PEM file. Raises ProofError `key.form`."""
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ProofError("key.form", "not a private key in PEM, or another password") from None
        if not isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey)):
            raise ProofError("key.form", "a private key of neither Ed25519 nor P-256")
        return cls(key)

    def to_pem(self, password: bytes | None = None) -> bytes:
        """PKCS #8 PEM, encrypted if there is a password."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    def sign(self, message: bytes) -> bytes:
        """64 bytes: the Ed25519 signature, or r||s of ECDSA P-256 with SHA-256."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _require_safe_point(raw: bytes, place: str | None) -> None:
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD or y in _SMALL_ORDER:
        raise ProofError("key.form", "an Ed25519 point of small order, or not in its one spelling", place=place)


def _der_of(key: Any) -> bytes:
    return cast("bytes", key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
