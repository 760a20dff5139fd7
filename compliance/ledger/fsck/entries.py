"""Entries as their bytes say them, held against the columns beside them.

The usual entry is recognised without being parsed: `proof.entry.build` spells it from the columns around the event, so
what it must say before and after the event is spelled from the columns again and compared byte for byte; of the event
only the id is read. That may say "it is so" of a whole batch or nothing at all; every other batch goes to the strict
reader, and that alone says what is wrong.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
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

_MAX_KNOWN_SUBJECTS: Final = 65_536  # some ten megabytes
_SALT: Final = 32  # hex digits
_BEFORE_SEQ: Final = len('","seq":')
_BEFORE_SUBJECT: Final = len(',"subject":"')
_LAST: Final = len('","v":1}')
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")  # what JSON spells in one way only, as it is
_sha256 = hashlib.sha256
_leaf = _sha256(b"\x00")
_decode = msgspec.json.Decoder().decode


class _Id(msgspec.Struct):
    """The one member of an event that is needed. The decoder reads the others without making them."""

    id: str


read_id = msgspec.json.Decoder(_Id).decode


@dataclass(slots=True)
class Recognised:
    """What entries of one batch say, in parallel lists; `receipt` is how their receipt lists them."""

    event_ids: list[str]
    event_hashes: list[bytes]
    receipt: str


class EntryReader:
    """Reads the entries of one batch after the other, and notes in `result` where bytes and columns disagree."""

    def __init__(self, result: FsckResult, store: Store) -> None:
        self._result = result
        self._store = store
        self._subjects: dict[bytes, tuple[bytes, str]] = {}

    def recognise(self, batch: bytes, rows: Sequence[Row], event_hashes: Sequence[bytes]) -> Recognised | None:
        """What `rows` say if each is, byte for byte, what its columns make of the event that the batch signed.

        None if this cannot tell: then `read` must. Nothing is noted here.
        """
        head = b'{"batch":"%b","event":' % batch.hex().encode()
        after_head, known, leaf_of = len(head), self._subjects, _leaf.copy
        event_ids: list[str] = []
        hashes: list[bytes] = []
        receipt: list[str] = []
        stored_moment, moment, size = None, "", 0
        try:
            for _, index, subject, seq, prev, hash_, body, recorded_at in rows:
                leaf = leaf_of()
                leaf.update(body)
                if recorded_at != stored_moment:
                    stored_moment, moment = recorded_at, self._moment(recorded_at)
                subject_at = body.rindex(b'"', 0, -_LAST) + 1
                key, text = known.get(spelled := body[subject_at:-_LAST]) or self._learn(spelled)
                salt_end = subject_at - _BEFORE_SUBJECT - len(str(seq)) - _BEFORE_SEQ
                salt = body[salt_end - _SALT : salt_end].decode()
                before = "null" if prev is None else f'"{prev.hex()}"'
                shared = f'"index":{index},"prev":{before},"recorded_at":"{moment}","s'  # entry and receipt go on alike
                ending = f'eq":{seq},"subject":"{text}"'
                tail = f',{shared}alt":"{salt}","s{ending},"v":1}}'.encode()
                event = body[after_head : -len(tail)]
                event_leaf = leaf_of()
                event_leaf.update(event)
                event_hash = event_leaf.digest()
                if not (
                    leaf.digest() == hash_
                    and key == subject
                    and body.endswith(tail)
                    and body.startswith(head)
                    and salt.isalnum()
                    and event_hash == event_hashes[index]
                    and index >= 0
                ):
                    return None
                if not event.isascii():
                    event.decode()  # the decoder does not look at the text that it passes over
                event_id = read_id(event).id
                event_ids.append(event_id)
                hashes.append(event_hash)
                receipt.append(
                    f'{{"event_hash":"{event_hash.hex()}","event_id":"{event_id}","hash":"{hash_.hex()}",'
                    f"{shared}{ending}}}"
                )
                size += len(body)
        except (ValueError, TypeError, AttributeError, IndexError, ProofError):
            return None
        if not _PLAIN.fullmatch("".join(event_ids)):
            return None
        self._result.entries += len(rows)
        self._result.bytes += size
        return Recognised(event_ids, hashes, ",".join(receipt))

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

    def _learn(self, spelled: bytes) -> tuple[bytes, str]:
        """Key and text of a subject as it is spelled in an entry. ValueError if it could be spelled otherwise."""
        text = spelled.decode()
        if not _PLAIN.fullmatch(text):
            raise ValueError(f"{text!r} is not the only spelling")
        if len(self._subjects) >= _MAX_KNOWN_SUBJECTS:
            self._subjects.clear()
        known = self._subjects[spelled] = key_of(text), text
        return known

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
