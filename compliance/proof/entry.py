"""Entries: what the platform appends. These canonical bytes are the leaf of the log, stored verbatim as the truth.

An entry holds the sender's event unchanged; so it is spliced around the event's own canonical bytes, never re-spelled.
"""

import re
from typing import Any, Final

from compliance.proof.canonical import MAX_STRING_BYTES, read_object
from compliance.proof.errors import ProofError
from compliance.proof.event import check_event
from compliance.proof.layout import MAX_ENTRY_BYTES
from compliance.proof.shapes import is_hash, is_integer
from compliance.proof.strict_json import MAX_DEPTH
from compliance.proof.subject import parse as parse_subject
from compliance.proof.times import parse_recorded_at

MEMBERS: Final = frozenset(("batch", "event", "index", "prev", "recorded_at", "salt", "seq", "subject", "v"))
SALT_BYTES: Final = 16
MAX_INDEX: Final = 99_999

_salt = re.compile(r"[0-9a-f]{32}").fullmatch


class Template:
    """Entries of one batch, recorded at one time: what they share is spelled once.

    Nothing given here ever needs escaping: hex, integers, times and subject texts. Who makes them has checked them.
    """

    __slots__ = ("_spell",)

    def __init__(self, *, batch_id: str, recorded_at: str) -> None:
        shared = (
            b'{"batch":"%b","event":%%b,"index":%%d,"prev":%%b,"recorded_at":"%b","salt":"%%b","seq":%%d,'
            b'"subject":"%%b","v":1}'
        )
        self._spell = (shared % (batch_id.encode(), recorded_at.encode())).__mod__

    def build(self, *, event: bytes, index: int, prev: bytes | None, salt: bytes, seq: int, subject: str) -> bytes:
        """The canonical bytes of an entry around `event`, the canonical bytes of an event that was checked."""
        spelled_prev = b"null" if prev is None else b'"%b"' % prev.hex().encode()
        return self._spell((event, index, spelled_prev, salt.hex().encode(), seq, subject.encode()))


def build(
    *,
    batch_id: str,
    event: bytes,
    index: int,
    prev: bytes | None,
    recorded_at: str,
    salt: bytes,
    seq: int,
    subject: str,
) -> bytes:
    """One entry by itself: see `Template`."""
    template = Template(batch_id=batch_id, recorded_at=recorded_at)
    return template.build(event=event, index=index, prev=prev, salt=salt, seq=seq, subject=subject)


def read(data: bytes, *, place: str | None = None) -> dict[str, Any]:
    """The entry in `data`. Raises ProofError: `json.*`, `entry.form`, `time.form`, `subject.form`, `event.*`."""
    value = read_object(
        data,
        max_bytes=MAX_ENTRY_BYTES,
        max_string_bytes=MAX_STRING_BYTES,
        max_depth=MAX_DEPTH + 1,  # the event inside has its own sixteen
        code="entry.form",
        what="an entry",
        place=place,
    )
    if value.keys() != MEMBERS:
        raise ProofError("entry.form", "an entry has " + ", ".join(sorted(MEMBERS)), place=place)
    if type(value["v"]) is not int or value["v"] != 1:
        raise ProofError("entry.form", "v is 1", place=place)
    if not is_hash(value["batch"]) or not is_integer(value["index"], most=MAX_INDEX):
        raise ProofError("entry.form", "batch is a batch id, index a position in it", place=place)
    if type(value["salt"]) is not str or _salt(value["salt"]) is None:
        raise ProofError("entry.form", "salt is 16 bytes in hex", place=place)
    seq, prev = value["seq"], value["prev"]
    if not is_integer(seq):
        raise ProofError("entry.form", "seq is an integer from 0", place=place)
    if (prev is not None) if seq == 0 else not is_hash(prev):
        raise ProofError("entry.form", "prev is null at seq 0, else a leaf hash", place=place)
    parse_recorded_at(value["recorded_at"], place=place)
    try:
        parse_subject(value["subject"])
    except ProofError as error:
        raise (error.within(place) if place else error) from None
    if type(value["event"]) is not dict:
        raise ProofError("entry.form", "event is an object", place=place)
    check_event(value["event"], place=place)
    return value


def event_bytes(data: bytes) -> bytes:
    """The canonical bytes of the event inside the entry `data`, which `read` has accepted."""
    start = data.index(b',"event":') + len(b',"event":')
    end = data.rindex(b',"index":')
    return data[start:end]
