"""Signed notes of C2SP (https://c2sp.org/signed-note) with Ed25519 keys, and cosignatures of logs and witnesses.

Line types: 0x01 Ed25519, and of https://c2sp.org/tlog-cosignature 0x04 timestamped Ed25519 and 0x06 timestamped
ML-DSA-44. Lines of unknown keys, which includes every other type, are passed over as the text asks.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from compliance.proof import base64_text, post_quantum
from compliance.proof.errors import ProofError
from compliance.proof.keys import ED25519, SIGNATURE_BYTES, PublicKey, SigningKey
from compliance.proof.post_quantum import PostQuantumKey, PostQuantumPrivateKey

TYPE_ED25519: Final = 0x01
TYPE_COSIGNATURE: Final = 0x04
TYPE_MLDSA44: Final = 0x06
KNOWN_TYPES: Final = (TYPE_ED25519, TYPE_COSIGNATURE, TYPE_MLDSA44)
COSIGNATURES: Final = (TYPE_COSIGNATURE, TYPE_MLDSA44)  # whose lines state a time
MAX_NOTE_BYTES: Final = 1_000_000  # as golang.org/x/mod/sumdb/note
MAX_SIGNATURES: Final = 100  # as golang.org/x/mod/sumdb/note; the text asks for sixteen at least

_KEY_BYTES: Final = {TYPE_ED25519: 32, TYPE_COSIGNATURE: 32, TYPE_MLDSA44: post_quantum.PUBLIC_BYTES}
MAX_TIME: Final = 2**63 - 1  # of a cosignature
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_PLUS_SIGNS: Final = 2
_MARK: Final = "\u2014 "
_NAME = re.compile(r"[^\s+\ud800-\udfff]+")  # surrogates stand for bytes of a policy that are not UTF-8
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_VKEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A named key that can check note lines of its type."""

    name: str
    type: int
    key: PublicKey | PostQuantumKey

    @classmethod
    def from_vkey(cls, vkey: str) -> "NoteVerifier":
        """The verifier a vkey line names. Raises ProofError `key.form`."""
        name, id_hex, rest = (*vkey.split("+", 2), "", "")[:3]
        data = base64_text.decode(rest)
        if not _is_name(name) or _VKEY_ID.fullmatch(id_hex) is None or not data:
            raise ProofError("key.form", f"{vkey[:120]!r} is no verifier key name+id+key")
        if data[0] not in KNOWN_TYPES:
            raise ProofError("key.form", f"a verifier key of type 0x{data[0]:02x}, which is not known here")
        if len(data) != 1 + _KEY_BYTES[data[0]]:
            raise ProofError("key.form", f"a verifier key of {len(data) - 1} bytes instead of {_KEY_BYTES[data[0]]}")
        is_mldsa = data[0] == TYPE_MLDSA44
        key = PostQuantumKey.from_raw(data[1:]) if is_mldsa else PublicKey.from_raw_ed25519(data[1:])
        verifier = cls(name, data[0], key)
        if verifier.id.hex() != id_hex:
            raise ProofError("key.form", f"the id of this verifier key is {verifier.id.hex()}, not {id_hex}")
        return verifier

    @staticmethod
    def is_of_unknown_type(vkey: str) -> bool:
        """Whether `vkey` is a verifier key of a type that cannot be checked here."""
        data = base64_text.decode(vkey.split("+", 2)[-1])
        return bool(data) and vkey.count("+") >= _PLUS_SIGNS and data is not None and data[0] not in KNOWN_TYPES

    @property
    def id(self) -> bytes:
        """The four bytes by which a line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.key.raw).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The one line to hand out."""
        return f"{self.name}+{self.id.hex()}+{base64_text.encode(bytes([self.type]) + self.key.raw)}"


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A named private key that signs note lines of its type."""

    name: str
    key: SigningKey | PostQuantumPrivateKey
    type: int = TYPE_ED25519

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise ProofError("note.form", f"{self.name!r} cannot name a key")
        public = self.key.public
        if isinstance(public, PostQuantumKey) != (self.type == TYPE_MLDSA44):
            raise ProofError("key.form", f"a key of another kind than lines of type 0x{self.type:02x} have")
        if isinstance(public, PublicKey) and public.algorithm != ED25519:
            raise ProofError("key.form", "notes are signed by Ed25519 and ML-DSA-44 keys")

    @property
    def verifier(self) -> NoteVerifier:
        """The public half."""
        return NoteVerifier(self.name, self.type, self.key.public)

    @property
    def vkey(self) -> str:
        """The public half as one line."""
        return self.verifier.vkey

    def line(self, text: str, *, time: int | None = None) -> str:
        """The signature line for `text`; a cosignature also states the posix `time`."""
        if self.type in COSIGNATURES:
            if time is None or not 0 <= time <= MAX_TIME:
                raise ProofError("note.form", "a cosignature states a time")
            message = _message(self.type, self.name, text, time)
            signature = time.to_bytes(_TIME_BYTES, "big") + self.key.sign(message)
        else:
            signature = self.key.sign(text.encode())
        return f"{_MARK}{self.name} {base64_text.encode(self.verifier.id + signature)}\n"


@dataclass(frozen=True, slots=True)
class VerifiedLine:
    """One line that verified, and by whom. `time` is what a cosignature states, in posix seconds."""

    verifier: NoteVerifier
    time: int | None


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note with at least one verified line."""

    text: str
    verified: tuple[VerifiedLine, ...]
    unknown: int

    def verified_by(self, verifier: NoteVerifier) -> VerifiedLine | None:
        """The line of `verifier`, or None."""
        return next((line for line in self.verified if line.verifier == verifier), None)


def sign(text: str, signers: Sequence[NoteSigner], *, time: int | None = None) -> str:
    """The note over `text` (which ends in a newline) with a line of each signer; cosignatures state `time`."""
    _require_text(text)
    return text + "\n" + "".join(signer.line(text, time=time) for signer in signers)


def split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text and lines (name, key id, signature) of `note`, unverified. Raises ProofError `note.form`."""
    if len(note.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES:
        raise ProofError("note.form", f"a note over {MAX_NOTE_BYTES} bytes")
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise ProofError("note.form", "no blank line before signature lines, or no newline at the end")
    text, block = note[: at + 1], note[at + 2 :]
    _require_text(text)
    if _CONTROL.search(block):
        raise ProofError("note.form", "a control character")
    lines = block.split("\n")[:-1]
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise ProofError("note.form", f"{len(lines)} signature lines; there are 1 to {MAX_SIGNATURES}")
    return text, [_split_line(line) for line in lines]


def open_note(note: str, verifiers: Iterable[NoteVerifier]) -> OpenedNote:
    """Check `note` with the keys in `verifiers`.

    Raises `note.form`; `note.signature` if a line of a known key fails; `note.unknown_key` if there is none.
    """
    text, lines = split(note)
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    verified: dict[NoteVerifier, VerifiedLine] = {}
    unknown = 0
    for name, id_, signature in lines:
        verifier = known.get((name, id_))
        if verifier is None:
            unknown += 1
        elif verifier not in verified:
            verified[verifier] = _verify_line(verifier, text, signature)
    if not verified:
        raise ProofError("note.unknown_key", "no line is of a key known here")
    return OpenedNote(text, tuple(verified.values()), unknown)


def lines_of(note: str, verifiers: Iterable[NoteVerifier]) -> list[str]:
    """The lines of `note` that name one of these keys, the first of each, in order, unverified: `open_note` checks."""
    wanted = {(verifier.name, verifier.id) for verifier in verifiers}
    found: dict[tuple[str, bytes], str] = {}
    for name, id_, signature in split(note)[1]:
        if (name, id_) in wanted:
            found.setdefault((name, id_), f"{_MARK}{name} {base64_text.encode(id_ + signature)}\n")
    return list(found.values())


def cosigned_message(text: str, time: int) -> bytes:
    """What a witness signs over a checkpoint at posix `time`."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _verify_line(verifier: NoteVerifier, text: str, signature: bytes) -> VerifiedLine:
    time = None
    message = text.encode()
    if verifier.type in COSIGNATURES:
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature = signature[_TIME_BYTES:]
        message = _message(verifier.type, verifier.name, text, time)
    wanted = post_quantum.SIGNATURE_BYTES if verifier.type == TYPE_MLDSA44 else SIGNATURE_BYTES
    is_time = time is None or time <= MAX_TIME
    if not is_time or len(signature) != wanted or not verifier.key.signed(signature, message):
        raise ProofError("note.signature", f"the line of {verifier.name} does not verify")
    return VerifiedLine(verifier, time)


def _message(type_: int, name: str, text: str, time: int) -> bytes:
    """What a cosignature line signs."""
    if type_ == TYPE_MLDSA44:
        return post_quantum.cosigned_message(text, name=name, time=time)
    return cosigned_message(text, time)


def _split_line(line: str) -> tuple[str, bytes, bytes]:
    if not line.startswith(_MARK):
        raise ProofError("note.form", "a signature line begins with an em dash and a space")
    name, space, encoded = line.removeprefix(_MARK).partition(" ")
    data = base64_text.decode(encoded)
    if not space or not _is_name(name) or data is None or len(data) <= _ID_BYTES:
        raise ProofError("note.form", f"{line[:120]!r} is no signature line")
    return name, data[:_ID_BYTES], data[_ID_BYTES:]


def _require_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ProofError("note.form", "the text ends in a newline and has no other control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ProofError("note.form", "the text is not Unicode") from None


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
