"""Proof bundles, `meterproof-bundle/1`: everything a stranger needs to check one or more chains, in one canonical file.

This module reads and writes the file; `verify.py` says what it proves. Format: `docs/formats/README.md`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from compliance.proof import base64_text, dsse, heads, merkle
from compliance.proof.canonical import encode, read_object
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.heads import Heads
from compliance.proof.shapes import is_hash, is_integer
from compliance.proof.subject import parse as parse_subject
from compliance.proof.times import format_time, parse_time

FORMAT: Final = "meterproof-bundle/1"
FORMAT_PREFIX: Final = "meterproof-bundle/"
MAX_BUNDLE_BYTES: Final = 64 * 1024 * 1024
MAX_SUBJECTS: Final = 1_000
MAX_TIME_TOKENS: Final = 16

_MEMBERS: Final = frozenset(
    ("format", "log", "created", "subjects", "checkpoint", "time_tokens", "entries", "batches", "heads")
)
_SHOWN: Final = frozenset(("leaf", "path", "entry", "event_path"))
_REDACTED: Final = frozenset(("leaf", "path", "hash"))


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One leaf: its bytes and the two paths, or, if it was redacted, its hash."""

    leaf: int
    path: tuple[bytes, ...]
    entry: bytes | None
    event_path: tuple[bytes, ...] = ()
    redacted_hash: bytes = b""

    @property
    def hash(self) -> bytes:
        """The leaf hash."""
        return self.redacted_hash if self.entry is None else merkle.leaf_hash(self.entry)

    def to_object(self) -> dict[str, Any]:
        """As in the file."""
        if self.entry is None:
            return {"leaf": self.leaf, "path": _hex(self.path), "hash": self.redacted_hash.hex()}
        return {
            "leaf": self.leaf,
            "path": _hex(self.path),
            "entry": base64_text.encode(self.entry),
            "event_path": _hex(self.event_path),
        }


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form is right, nothing verified. `checkpoint` is the signed note."""

    log: str
    created: str
    subjects: tuple[str, ...]
    checkpoint: str
    time_tokens: tuple[bytes, ...]
    entries: tuple[BundleEntry, ...]
    batches: Mapping[str, dsse.Envelope]
    heads: Heads


def build(
    *,
    log: str,
    created: datetime | str,
    subjects: Iterable[str],
    checkpoint: str,
    entries: Iterable[BundleEntry],
    batches: Iterable[bytes],
    heads_envelope: bytes,
    time_tokens: Iterable[bytes] = (),
) -> bytes:
    """The bytes of a bundle; `batches` are canonical envelopes. What belongs in is the caller's business."""
    envelopes = {
        envelope.id: envelope.to_object()
        for data in batches
        for envelope in (dsse.read_envelope(data, payload_type=dsse.BATCH_TYPE),)
    }
    data = encode(
        {
            "format": FORMAT,
            "log": log,
            "created": created if isinstance(created, str) else format_time(created),
            "subjects": sorted(set(subjects)),
            "checkpoint": checkpoint,
            "time_tokens": [base64_text.encode(token) for token in time_tokens],
            "entries": [entry.to_object() for entry in sorted(entries, key=lambda entry: entry.leaf)],
            "batches": [envelopes[batch_id] for batch_id in sorted(envelopes)],
            "heads": dsse.read_envelope(heads_envelope, payload_type=dsse.HEADS_TYPE).to_object(),
        }
    )
    if len(data) > MAX_BUNDLE_BYTES:
        raise ProofError("json.size", f"a bundle of {len(data)} bytes, at most {MAX_BUNDLE_BYTES} fit")
    return data


def read(data: bytes) -> Bundle:
    """The bundle in `data`: `json.*`, `bundle.form`, `bundle.version`, `envelope.*`, `heads.form`, `subject.form`."""
    value = read_object(
        data, max_bytes=MAX_BUNDLE_BYTES, code="bundle.form", what="a bundle", extra_names=dsse.EXTRA_NAMES
    )
    version = value.get("format")
    if type(version) is str and version.startswith(FORMAT_PREFIX) and version != FORMAT:
        raise NotCheckable("bundle.version", f"{version[:60]} is not known here; {FORMAT} is")
    if value.keys() != _MEMBERS or version != FORMAT:
        raise ProofError("bundle.form", "a bundle has " + ", ".join(sorted(_MEMBERS)))
    if not is_origin(value["log"]):
        raise ProofError("bundle.form", "log is the origin of a log")
    parse_time(value["created"], place="created")
    if type(value["checkpoint"]) is not str:
        raise ProofError("bundle.form", "checkpoint is the text of a signed note")
    return Bundle(
        log=value["log"],
        created=value["created"],
        subjects=_read_subjects(value["subjects"]),
        checkpoint=value["checkpoint"],
        time_tokens=_read_tokens(value["time_tokens"]),
        entries=_read_entries(value["entries"]),
        batches=_read_batches(value["batches"]),
        heads=_read_heads(value["heads"]),
    )


def _read_subjects(items: object) -> tuple[str, ...]:
    if type(items) is not list or not 1 <= len(items) <= MAX_SUBJECTS:
        raise ProofError("bundle.form", f"subjects is a list of 1 to {MAX_SUBJECTS}", place="subjects")
    for position, item in enumerate(items):
        try:
            parse_subject(item)
        except ProofError as error:
            raise error.within(f"subjects/{position}") from None
    if any(first >= second for first, second in pairwise(items)):
        raise ProofError("bundle.form", "subjects are sorted, none twice", place="subjects")
    return tuple(items)


def _read_tokens(items: object) -> tuple[bytes, ...]:
    if type(items) is not list or len(items) > MAX_TIME_TOKENS:
        raise ProofError("bundle.form", f"time_tokens is a list of at most {MAX_TIME_TOKENS}", place="time_tokens")
    tokens = [base64_text.decode(item) for item in items]
    if not all(tokens):
        raise ProofError("bundle.form", "a time token is DER in base64", place="time_tokens")
    return tuple(token for token in tokens if token)


def _read_entries(items: object) -> tuple[BundleEntry, ...]:
    if type(items) is not list or not items:
        raise ProofError("bundle.form", "entries is a list, not empty", place="entries")
    entries = [_read_entry(item, f"entries/{position}") for position, item in enumerate(items)]
    if any(first.leaf >= second.leaf for first, second in pairwise(entries)):
        raise ProofError("bundle.form", "entries are sorted by leaf, none twice", place="entries")
    return tuple(entries)


def _read_entry(item: object, place: str) -> BundleEntry:
    if type(item) is not dict or item.keys() not in (_SHOWN, _REDACTED):
        raise ProofError(
            "bundle.form", "an entry has leaf, path, entry and event_path, or leaf, path and hash", place=place
        )
    if not is_integer(item["leaf"]):
        raise ProofError("bundle.form", "leaf is an integer from 0", place=place)
    path = _read_path(item["path"], place)
    if "hash" in item:
        if not is_hash(item["hash"]):
            raise ProofError("bundle.form", "hash is a leaf hash", place=place)
        return BundleEntry(item["leaf"], path, None, redacted_hash=bytes.fromhex(item["hash"]))
    data = base64_text.decode(item["entry"])
    if data is None:
        raise ProofError("bundle.form", "entry is base64", place=place)
    return BundleEntry(item["leaf"], path, data, _read_path(item["event_path"], place))


def _read_path(items: object, place: str) -> tuple[bytes, ...]:
    if type(items) is not list or len(items) > merkle.MAX_PATH or not all(is_hash(item) for item in items):
        raise ProofError("bundle.form", f"a path is a list of at most {merkle.MAX_PATH} hashes", place=place)
    return tuple(bytes.fromhex(item) for item in items)


def _read_batches(items: object) -> dict[str, dsse.Envelope]:
    if type(items) is not list or not items:
        raise ProofError("bundle.form", "batches is a list, not empty", place="batches")
    envelopes: list[dsse.Envelope] = []
    for position, item in enumerate(items):
        place = f"batches/{position}"
        if type(item) is not dict:
            raise ProofError("envelope.form", "an envelope is a JSON object", place=place)
        envelopes.append(dsse.read_envelope(item, payload_type=dsse.BATCH_TYPE, place=place))
    ids = [envelope.id for envelope in envelopes]
    if any(first >= second for first, second in pairwise(ids)):
        raise ProofError("bundle.form", "batches are sorted by batch id, none twice", place="batches")
    return dict(zip(ids, envelopes, strict=True))


def _read_heads(item: object) -> Heads:
    if type(item) is not dict:
        raise ProofError("envelope.form", "an envelope is a JSON object", place=heads.PLACE)
    return heads.read(item)


def _hex(path: Iterable[bytes]) -> list[str]:
    return [value.hex() for value in path]
