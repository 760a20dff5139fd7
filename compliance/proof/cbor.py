"""Deterministic CBOR of RFC 8949 section 4.2.1, in the few kinds that COSE receipts need.

Integers of 64 bits, byte strings, text, arrays, maps, null and tags. Each value has one encoding: shortest heads,
definite lengths, map keys in the order of their encoded bytes. Reading refuses every other spelling and every other
kind (floats, booleans, undefined, bignums, indefinite lengths), so that what was read is what was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from compliance.proof.errors import ProofError

MAX_BYTES: Final = 65_536  # a receipt with the longest path has some 3 KiB
MAX_DEPTH: Final = 8  # a receipt has six levels
MAX_UNSIGNED: Final = 2**64 - 1

_NULL: Final = b"\xf6"
_IMMEDIATE: Final = 24  # smaller arguments stand in the first byte itself
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


class Major(IntEnum):
    """Major types, the three bits that a head begins with."""

    UNSIGNED = 0
    NEGATIVE = 1
    BYTES = 2
    TEXT = 3
    ARRAY = 4
    MAP = 5
    TAG = 6
    SIMPLE = 7


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with a tag."""

    tag: int
    value: Any


def encode(value: Any) -> bytes:
    """The one encoding of `value`. Raises ProofError `cbor.form` for a kind that has none here."""
    match value:
        case None:
            return _NULL
        case bool():
            raise ProofError("cbor.form", "booleans are not used here")
        case int() if -MAX_UNSIGNED - 1 <= value <= MAX_UNSIGNED:
            return _head(Major.UNSIGNED, value) if value >= 0 else _head(Major.NEGATIVE, -1 - value)
        case bytes():
            return _head(Major.BYTES, len(value)) + value
        case str():
            text = value.encode()
            return _head(Major.TEXT, len(text)) + text
        case Tagged():
            return _head(Major.TAG, value.tag) + encode(value.value)
        case Mapping():
            members = sorted((encode(key), encode(member)) for key, member in value.items())
            return _head(Major.MAP, len(members)) + b"".join(key + member for key, member in members)
        case Sequence():
            return _head(Major.ARRAY, len(value)) + b"".join(encode(item) for item in value)
    raise ProofError("cbor.form", f"{type(value).__name__} has no encoding here")


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, place: str | None = None) -> Any:
    """The value whose one encoding is `data`. Maps come as dicts, arrays as lists.

    Raises ProofError: `cbor.size`; `cbor.order` for a spelling that is not the deterministic one; `cbor.form` else.
    """
    if len(data) > max_bytes:
        raise ProofError("cbor.size", f"{len(data)} bytes, at most {max_bytes}", place=place)
    reader = _Reader(data, place)
    value = reader.item(1)
    if reader.at != len(data):
        raise reader.refused("cbor.form", f"{len(data) - reader.at} bytes after the value")
    return value


def _head(major: int, argument: int) -> bytes:
    first = major << 5
    if argument < _IMMEDIATE:
        return bytes([first | argument])
    for code, width in _WIDTHS.items():
        if argument < 1 << (8 * width):
            return bytes([first | code]) + argument.to_bytes(width, "big")
    raise ProofError("cbor.form", "a number over 64 bits")


class _Reader:
    """One pass over `data`. Counts are held against the bytes that are left before anything is made of them."""

    __slots__ = ("at", "data", "place")

    def __init__(self, data: bytes, place: str | None) -> None:
        self.data = data
        self.place = place
        self.at = 0

    def item(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.refused("cbor.form", f"nested deeper than {MAX_DEPTH}")
        if self.data[self.at : self.at + 1] == _NULL:
            self.at += 1
            return None
        major, argument = self.head()
        match major:
            case Major.UNSIGNED:
                return argument
            case Major.NEGATIVE:
                return -1 - argument
            case Major.BYTES:
                return self.take(argument)
            case Major.TEXT:
                return self.text(argument)
            case Major.ARRAY:
                self.require_left(argument)
                return [self.item(depth + 1) for _ in range(argument)]
            case Major.MAP:
                self.require_left(2 * argument)
                return self.members(argument, depth)
            case Major.TAG:
                return Tagged(argument, self.item(depth + 1))
        raise self.refused("cbor.form", "a float, a boolean or another simple value")

    def head(self) -> tuple[int, int]:
        first = self.take(1)[0]
        major, code = first >> 5, first & 0x1F
        if major == Major.SIMPLE or code < _IMMEDIATE:
            return major, code
        width = _WIDTHS.get(code)
        if width is None:
            raise self.refused("cbor.order", "an indefinite length, or a reserved head")
        argument = int.from_bytes(self.take(width), "big")
        if argument < (_IMMEDIATE if width == 1 else 1 << (4 * width)):
            raise self.refused("cbor.order", f"{argument} in more bytes than it needs")
        return major, argument

    def members(self, count: int, depth: int) -> dict[int | str, Any]:
        found: dict[int | str, Any] = {}
        last = b""
        for _ in range(count):
            start = self.at
            key = self.item(depth + 1)
            if type(key) is not int and type(key) is not str:
                raise self.refused("cbor.form", "a map key that is neither integer nor text")
            spelled = self.data[start : self.at]
            if spelled <= last:
                raise self.refused("cbor.order", "map keys twice or not in the order of their bytes")
            last = spelled
            found[key] = self.item(depth + 1)
        return found

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.refused("cbor.form", "text that is not UTF-8") from None

    def take(self, length: int) -> bytes:
        self.require_left(length)
        self.at += length
        return self.data[self.at - length : self.at]

    def require_left(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise self.refused("cbor.form", "it ends before its value does")

    def refused(self, code: str, detail: str) -> ProofError:
        return ProofError(code, f"{detail} (byte {self.at})", place=self.place)
