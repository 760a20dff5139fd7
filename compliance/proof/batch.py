"""Batches: events signed once, by the RFC 6962 root over their canonical bytes, in a DSSE envelope.

On the wire a batch is NDJSON (the envelope on the first line, one event a line after it) or JSON
`{"envelope":...,"events":[...]}`. `count` and `root` always cover every event sent. Format: `docs/formats/README.md`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from compliance.proof import dsse, merkle
from compliance.proof.canonical import MAX_EVENT_BYTES, encode, read_event_line, read_object
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import ProofError
from compliance.proof.event import check_authority, check_event
from compliance.proof.keys import PublicKey, SigningKey
from compliance.proof.shapes import is_hash, is_id, is_integer
from compliance.proof.strict_json import parse, split_items, split_members
from compliance.proof.subject import PLATFORM, is_organisation_id
from compliance.proof.times import format_time, parse_time

NDJSON: Final = "application/x-ndjson"
JSON_DOCUMENT: Final = "application/json"
TREE: Final = "rfc6962-sha256"
MAX_COUNT: Final = 100_000
MAX_BATCH_BYTES: Final = 256 * 1024 * 1024  # 100,000 events of the usual size; servers set their own, smaller limit

_REQUIRED: Final = frozenset(("v", "log", "issuer", "source", "sequence", "created", "count", "root", "tree"))
_VOUCHING: Final = frozenset(("on_behalf_of", "credential"))


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch ready to be sent."""

    envelope: bytes
    payload: dict[str, Any]
    event_lines: tuple[bytes, ...]

    @property
    def batch_id(self) -> str:
        """Hex SHA-256 of the canonical envelope."""
        return hashlib.sha256(self.envelope).hexdigest()

    @property
    def ndjson(self) -> bytes:
        """The file to send."""
        return b"\n".join((self.envelope, *self.event_lines, b""))


class ReceivedEvent(msgspec.Struct, frozen=True, gc=False):
    """One good event of a batch, at its signed position."""

    index: int
    value: dict[str, Any]
    canonical: bytes
    event_hash: bytes


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """A batch whose envelope, payload, count and root are right. Signatures are not verified yet.

    `events` are the good ones; `problems` hold (index, line, error) of the others. If a line could not be read at all,
    its hash is unknown, `event_hashes` is None, the root could not be checked, and the batch cannot be taken in.
    """

    envelope: bytes
    batch_id: str
    payload_sha256: bytes
    payload: dict[str, Any]
    statement: dsse.Envelope
    events: tuple[ReceivedEvent, ...]
    event_hashes: tuple[bytes, ...] | None
    problems: tuple[tuple[int, int, ProofError], ...]

    @property
    def signatures(self) -> tuple[tuple[str, bytes], ...]:
        """(key id, signature), sorted by key id."""
        return self.statement.signatures

    @property
    def author(self) -> str:
        """The organisation that says the events: `on_behalf_of` if present, else the issuer."""
        return author_of(self.payload)


def author_of(payload: Mapping[str, Any]) -> str:
    """The organisation that says the events of the batch with this payload."""
    author: str = payload.get("on_behalf_of", payload["issuer"])
    return author


def build(
    *,
    events: Sequence[Mapping[str, Any]],
    log: str,
    issuer: str,
    source: str,
    sequence: int | None,
    created: datetime | str,
    keys: Sequence[SigningKey],
    on_behalf_of: str | None = None,
    credential: str | None = None,
) -> SignedBatch:
    """Sign `events` for the log `log`. Raises ProofError, place `event N`, for an event that no platform would take."""
    lines = tuple(_event_line(event, position) for position, event in enumerate(events))
    payload: dict[str, Any] = {
        "v": 1,
        "log": log,
        "issuer": issuer,
        "source": source,
        "sequence": sequence,
        "created": created if isinstance(created, str) else format_time(created),
        "count": len(lines),
        "root": merkle.root([merkle.leaf_hash(line) for line in lines]).hex(),
        "tree": TREE,
    }
    if on_behalf_of is not None:
        payload["on_behalf_of"] = on_behalf_of
    if credential is not None:
        payload["credential"] = credential
    check_payload(payload)
    envelope = dsse.sign(payload=encode(payload), payload_type=dsse.BATCH_TYPE, keys=keys)
    return SignedBatch(envelope, payload, lines)


def read(data: bytes, *, media_type: str | None = None) -> ReceivedBatch:
    """The batch in `data`; without a media type, one JSON value is the JSON form and anything else NDJSON.

    Envelope, payload, count and root raise ProofError; what is wrong with single events is collected in `problems`.
    """
    if len(data) > MAX_BATCH_BYTES:
        raise ProofError("json.size", f"{len(data)} bytes, at most {MAX_BATCH_BYTES} are read")
    if media_type is None:
        media_type = JSON_DOCUMENT if _is_one_value(data) else NDJSON
    envelope, lines = _split_json(data) if media_type == JSON_DOCUMENT else _split_ndjson(data)
    place = "envelope"
    value = parse(envelope, max_bytes=4 * dsse.MAX_BATCH_ENVELOPE_BYTES, extra_names=dsse.EXTRA_NAMES, place=place)
    if not isinstance(value, dict):
        raise ProofError("envelope.form", "an envelope is a JSON object", place=place)
    statement = dsse.read_envelope(value, payload_type=dsse.BATCH_TYPE, place=place)
    payload = read_payload(statement, place="payload")
    if payload["count"] != len(lines):
        raise ProofError("batch.count", f"{len(lines)} events, {payload['count']} were signed")
    return _read_events(statement, payload, lines)


def read_payload(statement: dsse.Envelope, *, place: str | None = None) -> dict[str, Any]:
    """The checked payload of a batch's envelope: `json.*`, `batch.form`, `batch.vouching`, `time.form`."""
    payload = read_object(
        statement.payload,
        max_bytes=dsse.MAX_BATCH_ENVELOPE_BYTES,
        code="batch.form",
        what="the payload",
        place=place,
    )
    check_payload(payload, place=place)
    return payload


def check_payload(payload: Mapping[str, Any], *, place: str | None = None) -> None:
    """Raise ProofError unless `payload` has the members and values of a batch's payload."""
    names = payload.keys()
    if not (names >= _REQUIRED and names <= _REQUIRED | _VOUCHING):
        what = sorted(_REQUIRED - names) + sorted(names - _REQUIRED - _VOUCHING)
        raise ProofError("batch.form", f"missing or unknown member: {', '.join(what)[:200]}", place=place)
    if type(payload["v"]) is not int or payload["v"] != 1 or payload["tree"] != TREE:
        raise ProofError("batch.form", f"v is 1 and tree {TREE}", place=place)
    if not is_origin(payload["log"]) or not is_organisation_id(payload["issuer"]):
        raise ProofError("batch.form", "log is an origin, issuer an organisation id", place=place)
    if not is_id(payload["source"]):
        raise ProofError("batch.form", "source is an id", place=place)
    if payload["sequence"] is not None and not is_integer(payload["sequence"]):
        raise ProofError("batch.form", "sequence is an integer from 0, or null", place=place)
    parse_time(payload["created"], place=place)
    if not is_integer(payload["count"], 1, MAX_COUNT):
        raise ProofError("batch.form", f"count is 1 to {MAX_COUNT}", place=place)
    if not is_hash(payload["root"]):
        raise ProofError("batch.form", "root is 64 lower-case hex digits", place=place)
    if not names & _VOUCHING:
        return
    if not names >= _VOUCHING or payload["issuer"] != PLATFORM:
        raise ProofError(
            "batch.vouching", "on_behalf_of and credential stand together, with issuer platform only", place=place
        )
    if not is_organisation_id(payload["on_behalf_of"]) or not is_id(payload["credential"]):
        raise ProofError("batch.form", "on_behalf_of is an organisation id, credential an id", place=place)


def verify_signatures(
    statement: dsse.Envelope,
    payload: Mapping[str, Any],
    keys: Mapping[str, tuple[str, PublicKey]],
    *,
    place: str | None = None,
) -> None:
    """Raise ProofError unless every signature verifies and one is of a key of the issuer.

    `keys` gives (organisation, key) of the registered key ids. Whether a key was valid at a time is the caller's.
    """
    statement.verify({keyid: key for keyid, (_, key) in keys.items()}, place=place)
    if all(keys[keyid][0] != payload["issuer"] for keyid in statement.keyids):
        raise ProofError("key.issuer", f"no signature is of a key of {payload['issuer']}", place=place)


def _read_events(
    statement: dsse.Envelope, payload: dict[str, Any], lines: Sequence[tuple[int, bytes]]
) -> ReceivedBatch:
    events: list[ReceivedEvent] = []
    hashes: list[bytes] = []
    problems: list[tuple[int, int, ProofError]] = []
    seen: set[str] = set()
    author = author_of(payload)
    readable = True
    for index, (line_number, line) in enumerate(lines):
        try:
            value, canonical = read_event_line(line)
        except ProofError as error:
            readable = False
            problems.append((index, line_number, error))
            continue
        event_hash = merkle.leaf_hash(canonical)
        hashes.append(event_hash)
        try:
            check_event(value)
            check_authority(value, author)
            if value["id"] in seen:
                raise ProofError("event.id_twice", f"the id {value['id']} occurs twice in the batch", pointer="/id")
        except ProofError as error:
            problems.append((index, line_number, error))
            continue
        seen.add(value["id"])
        events.append(ReceivedEvent(index, value, canonical, event_hash))
    if readable and merkle.root(hashes).hex() != payload["root"]:
        raise ProofError("batch.root", "the events do not give the signed root")
    return ReceivedBatch(
        envelope=statement.canonical,
        batch_id=statement.id,
        payload_sha256=hashlib.sha256(statement.payload).digest(),
        payload=payload,
        statement=statement,
        events=tuple(events),
        event_hashes=tuple(hashes) if readable else None,
        problems=tuple(problems),
    )


def _event_line(event: Mapping[str, Any], position: int) -> bytes:
    place = f"event {position}"
    try:
        line = encode(dict(event))
        if len(line) > MAX_EVENT_BYTES:
            raise ProofError("json.size", f"{len(line)} canonical bytes, at most {MAX_EVENT_BYTES} fit")
        value, _ = read_event_line(line)
        check_event(value)
    except ProofError as error:
        raise error.within(place) from None
    return line


def _is_one_value(data: bytes) -> bool:
    try:
        split_members(data)
    except ProofError:
        return False
    return True


def _split_ndjson(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise ProofError("envelope.form", "the file is empty", place="line 1")
    return lines[0], [(number, line) for number, line in enumerate(lines[1:], start=2)]


def _split_json(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    members = split_members(data)
    names = [name for name, _ in members]
    if sorted(names) != ["envelope", "events"]:
        code = "json.duplicate_name" if len(set(names)) < len(names) else "envelope.form"
        raise ProofError(code, "a batch as JSON has the members envelope and events, once each")
    parts = dict(members)
    items, line = [], 1 + data.count(b"\n", 0, data.find(parts["events"]))
    seen = 0
    for offset, item in split_items(parts["events"], place="events"):
        line += parts["events"].count(b"\n", seen, offset)
        seen = offset
        items.append((line, item))
    return parts["envelope"], items
