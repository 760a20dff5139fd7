"""Entries as their bytes say them, held against the columns beside them.

The usual entry is recognised without being parsed: `proof.entry.build` spells it from the columns around the event, so
what it must say before and after the event is spelled from the columns again and compared byte for byte; of the event
only the id is read. That may say "it is so" of a whole batch or nothing at all; every other batch goes to the strict
reader, and that alone says what is wrong.
"""

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

import msgspec

from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.store import Store
from compliance.proof.errors import ProofError
from compliance.proof.subject import key_of
from compliance.proof.times import parse_recorded_at

Row = tuple[Any, ...]
Said = tuple[str, bytes, str]
"""What the bytes of an entry say that other tables repeat: event id, leaf hash of the event, subject text."""

_MAX_KNOWN_SUBJECTS: Final = 65_536  # some twenty megabytes
_SALT: Final = 32  # hex digits
_AFTER_SALT: Final = len('","s,"v":1}')
_AFTER_SUBJECT: Final = len('","v":1}')
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")  # what JSON spells in one way only, as it is
_sha256 = hashlib.sha256
_leaf = _sha256(b"\x00")
_decode = msgspec.json.Decoder().decode


class _Id(msgspec.Struct):
    """The one member of an event that is needed. The decoder reads the others without making them."""

    id: str


read_id = msgspec.json.Decoder(_Id).decode
_id_of = attrgetter("id")


@dataclass(slots=True)
class Recognised:
    """What entries of one batch say, in parallel lists; `receipt` is how their receipt lists them."""

    event_ids: list[str]
    event_hashes: list[bytes]
    subjects: Sequence[bytes]
    seqs: Sequence[int]
    hashes: Sequence[bytes]
    bodies: Sequence[bytes]
    receipt: str


class EntryReader:
    """Reads the entries of one batch after the other, and notes in `result` where bytes and columns disagree."""

    def __init__(self, result: FsckResult, store: Store) -> None:
        self._result = result
        self._store = store
        self._subjects: dict[bytes, str] = {}

    def recognise(self, batch: bytes, rows: Sequence[Row], event_hashes: Sequence[bytes]) -> Recognised | None:
        """What `rows` say if each is, byte for byte, what its columns make of the event that the batch signed.

        None if this cannot tell: then `read` must. Nothing is noted here.
        """
        if not rows:
            return Recognised([], [], (), (), (), (), "")
        try:
            read = self._recognise(batch, rows, event_hashes)
        except (ValueError, TypeError, AttributeError, IndexError, ProofError):
            return None
        self._result.entries += len(rows)
        self._result.bytes += sum(map(len, read.bodies))
        return read

    def _recognise(self, batch: bytes, rows: Sequence[Row], event_hashes: Sequence[bytes]) -> Recognised:
        """Column by column, as a list of a thousand costs less than a thousand passes of one long loop.

        Raises ValueError or another error if a row is not the usual one.
        """
        _, indexes, subjects, seqs, prevs, hashes, bodies, moments = zip(*rows, strict=True)
        moment = self._moment(moments[0])
        _require(moments.count(moments[0]) == len(rows) and min(indexes) >= 0)
        # Entry and receipt go on alike up to the salt, which only the entry has, and after it.
        spelled_prevs = ["null" if prev is None else f'"{prev.hex()}"' for prev in prevs]
        before_salt = [
            f'"index":{index},"prev":{prev},"recorded_at":"{moment}","s'
            for index, prev in zip(indexes, spelled_prevs, strict=True)
        ]
        after_salt = [
            f'eq":{seq},"subject":"{text}"' for seq, text in zip(seqs, self._texts(subjects, bodies), strict=True)
        ]
        salt_ends = [-_AFTER_SALT - len(after) for after in after_salt]
        salts = b"".join([body[end - _SALT : end] for body, end in zip(bodies, salt_ends, strict=True)]).decode()
        binascii.unhexlify(salts)
        tails = [
            f',{before}alt":"{salts[at : at + _SALT]}","s{after},"v":1}}'
            for at, before, after in zip(range(0, len(salts), _SALT), before_salt, after_salt, strict=True)
        ]
        tail_starts = [-len(tail) for tail in tails]
        stored_tails = [body[start:] for body, start in zip(bodies, tail_starts, strict=True)]
        _require("".join(tails).encode() == b"".join(stored_tails))
        head = b'{"batch":"%b","event":' % batch.hex().encode()
        _require(all(map(bytes.startswith, bodies, repeat(head))))
        event_start = len(head)
        events = [body[event_start:end] for body, end in zip(bodies, tail_starts, strict=True)]
        signed = [event_hashes[index] for index in indexes]
        _require(_leaf_hashes(bodies) == list(hashes) and _leaf_hashes(events) == signed)
        if not all(map(bytes.isascii, events)):
            for event in events:
                event.decode()  # the decoder does not look at the text that it passes over
        ids = list(map(_id_of, map(read_id, events)))
        _require(_PLAIN.fullmatch("".join(ids)) is not None)
        receipt = [
            f'{{"event_hash":"{event_hash.hex()}","event_id":"{id_}","hash":"{hash_.hex()}",{before}{after}}}'
            for event_hash, id_, hash_, before, after in zip(signed, ids, hashes, before_salt, after_salt, strict=True)
        ]
        return Recognised(ids, signed, subjects, seqs, hashes, bodies, ",".join(receipt))

    def _texts(self, subjects: Sequence[bytes], bodies: Sequence[bytes]) -> list[str]:
        """The texts whose keys are `subjects`, as `bodies` have them. ValueError if one could be spelled otherwise."""
        known = self._subjects
        try:
            return [known[subject] for subject in subjects]
        except KeyError:
            if len(known) >= _MAX_KNOWN_SUBJECTS:
                known.clear()
            for subject, body in zip(subjects, bodies, strict=True):
                if subject not in known:
                    known[subject] = _subject_text(body, subject)
            return [known[subject] for subject in subjects]

    def read(self, rows: Sequence[Row], event_hashes: Sequence[bytes], *, signed: bool) -> list[Said | None]:
        """What each of `rows` says; None for one that was redacted or cannot be read. Notes what is wrong.

        With `signed`, the event of each must be the one that `event_hashes` has at its index.
        """
        result, count = self._result, len(event_hashes)
        everything: list[Said | None] = []
        for row in rows:
            said = None
            if row[6]:
                result.bytes += len(row[6])
                said = self._read(row)
            else:
                result.redacted += 1
            everything.append(said)
            if said and signed and not (0 <= row[1] < count and event_hashes[row[1]] == said[1]):
                result.add("batch.path", place(row), "its event is not the one signed at this position of the batch")
        result.entries += len(rows)
        return everything

    def _moment(self, stored: object) -> str:
        """The spelling of a stored time, if reading that gives the stored time again."""
        text = self._store.time_text(stored)
        if self._store.stored_time(parse_recorded_at(text)) != stored:
            raise ValueError(f"{stored!r} is not how {text} is stored")
        return text

    def _read(self, row: Row) -> Said | None:
        """As JSON, member by member. Notes what is wrong."""
        batch, index, subject, seq, prev, hash_, body, recorded_at = row
        result = self._result
        if _sha256(b"\x00" + body).digest() != hash_:
            result.add("entry.hash", place(row), "the stored hash is not the leaf hash of the stored bytes")
        try:
            value = _decode(body)
            start, end = body.index(b',"event":') + 9, body.rindex(b',"index":')
            event, text = value["event"], value["subject"]
            wrong = [
                name
                for name, agrees in (
                    ("batch", value["batch"] == batch.hex()),
                    ("index", value["index"] == index),
                    ("subject", key_of(text) == subject),
                    ("seq", value["seq"] == seq),
                    ("prev", value["prev"] == (None if prev is None else prev.hex())),
                    ("recorded_at", self._store.stored_time(parse_recorded_at(value["recorded_at"])) == recorded_at),
                )
                if not agrees
            ]
            said = event["id"], _sha256(b"\x00" + body[start:end]).digest(), text
        except (ValueError, KeyError, TypeError, AttributeError, ProofError) as error:
            result.add("entry.form", place(row), f"the bytes are not an entry: {error}")
            return None
        for name in wrong:
            result.add(f"entry.{name}", place(row), f"the column {name} is not what the bytes say")
        return said


def place(row: Row) -> str:
    """Where an entry is."""
    return f"entry {row[2].hex()}/{row[3]} (batch {row[0].hex()[:16]}, index {row[1]})"


def _subject_text(body: bytes, subject: bytes) -> str:
    """The subject that an entry ends with. ValueError if its key is not `subject`, or if it has another spelling."""
    text = body[body.rindex(b'"', 0, -_AFTER_SUBJECT) + 1 : -_AFTER_SUBJECT].decode()
    _require(key_of(text) == subject and _PLAIN.fullmatch(text) is not None)
    return text


def _leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """As `merkle.leaf_hash`, without a call for each."""
    hashes: list[bytes] = []
    begin = _leaf.copy
    for leaf in leaves:
        running = begin()
        running.update(leaf)
        hashes.append(running.digest())
    return hashes


def _require(usual: bool) -> None:
    if not usual:
        raise ValueError("not the usual spelling")
