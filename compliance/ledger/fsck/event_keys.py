"""Event keys against entries: each event has one key, which names just this event and this entry; there are no others.

Keys are hashes, so looking one up goes anywhere in the index, which would cost as much as hashing the entry three times
over. Instead the keys that the entries ask for and those that are stored are each added up, in the order in which they
lie. Only if the sums differ is each key looked up, which says which are wrong.
"""

import hashlib
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.store import KnownEvent, Store
from compliance.proof import merkle
from compliance.proof.subject import KEY_BYTES as SUBJECT_KEY_BYTES

SECRET_BYTES: Final = 64  # a whole block of SHA-256, so that it is hashed once and not before every key
_KEY_BYTES: Final = 16
_SEQ_BYTES: Final = 8
_RECORD: Final = _KEY_BYTES + merkle.HASH_BYTES + SUBJECT_KEY_BYTES + _SEQ_BYTES
_SUM_BYTES: Final = 32
_MODULUS: Final = 1 << (8 * _SUM_BYTES)
KEYS_A_PAGE: Final = 4_096
_STORED: Final = "SELECT key, event_hash, subject, seq FROM ledger_event_key"

_pack_seq = struct.Struct(">q").pack
_records = struct.Struct(f"{_RECORD}s").iter_unpack
_number = int.from_bytes  # big-endian


def new_secret() -> bytes:
    """What keys the sums of one run. Draw it when the snapshot stands: nobody can then make rows that fit it."""
    return secrets.token_bytes(SECRET_BYTES)


class ExpectedKeys(Protocol):
    """Is told, a few at a time and in parallel lists, of every key that must be there and what it must name."""

    def expect(
        self, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> None:
        """Take further ones."""


@dataclass(frozen=True, slots=True)
class Total:
    """How many event keys there are, and the sum modulo 2^256 of a keyed hash of each with what it names.

    Keyed hashes are as good as random: totals of different rows are equal once in 2^200 times. The sum is empty if one
    of the rows has fields of other lengths than ours, so that it cannot be compared.
    """

    count: int = 0
    sum: bytes = bytes(_SUM_BYTES)

    def __add__(self, other: "Total") -> "Total":
        if not (self.sum and other.sum):
            return Total(self.count + other.count, b"")
        return Total(self.count + other.count, _reduced(_number(self.sum) + _number(other.sum)))

    def is_of_the_same_keys(self, other: "Total") -> bool:
        """Whether both are certainly totals of the same rows."""
        return self == other and self.sum != b""


class KeySum:
    """Adds up the keys that it is told of."""

    def __init__(self, secret: bytes) -> None:
        self._begin = hashlib.sha256(secret).copy
        self._count = self._sum = 0
        self._comparable = True

    def expect(
        self, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> None:
        """Add these."""
        self._count += len(keys)
        try:
            joined = _join_records(keys, event_hashes, subjects, seqs)
        except (TypeError, ValueError, struct.error):
            self._comparable = False
            return
        begin = self._begin
        hashes: list[bytes] = []
        for (record,) in _records(joined):
            running = begin()
            running.update(record)
            hashes.append(running.digest())
        self._sum += sum(map(_number, hashes))

    def total(self) -> Total:
        """Of all so far."""
        return Total(self._count, _reduced(self._sum) if self._comparable else b"")


class KeyLookup:
    """Looks up each key that it is told of, and notes in `result` those that are missing or name something else."""

    def __init__(self, result: FsckResult, store: Store) -> None:
        self._result = result
        self._store = store

    def expect(
        self, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> None:
        """Look these up."""
        known = self._store.known_events(keys)
        for key, event_hash, subject, seq in zip(keys, event_hashes, subjects, seqs, strict=True):
            if known.get(key) != KnownEvent(event_hash, subject, seq):
                what = "is missing" if key not in known else "names another event or entry"
                self._result.add("event_key.wrong", f"event_key {key.hex()}", f"it {what}: entry {subject.hex()}/{seq}")


def stored(store: Store, secret: bytes) -> Total:
    """The total of the keys that are stored."""
    summed = KeySum(secret)
    for rows in store.pages(_STORED, size=KEYS_A_PAGE):
        summed.expect(*zip(*rows, strict=True))
    return summed.total()


def _join_records(
    keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
) -> bytes:
    """Raises ValueError, TypeError or struct.error unless each field has its length: bytes that moved from one column
    into the next would else give the same record.
    """
    for column, length in ((keys, _KEY_BYTES), (event_hashes, merkle.HASH_BYTES), (subjects, SUBJECT_KEY_BYTES)):
        if not {length}.issuperset(map(len, column)):
            raise ValueError(f"a field is not {length} bytes long")
    fields = [b""] * (4 * len(keys))
    fields[0::4], fields[1::4], fields[2::4] = keys, event_hashes, subjects
    fields[3::4] = map(_pack_seq, seqs)
    return b"".join(fields)


def _reduced(total: int) -> bytes:
    return (total % _MODULUS).to_bytes(_SUM_BYTES, "big")
