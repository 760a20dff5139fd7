"""A small log made in memory, so that tests can break one thing at a time with all else, signatures included, right."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compliance.proof import batch, bundle, dsse, entry, heads, layout, merkle, note, subject
from compliance.proof.bundle import BundleEntry
from compliance.proof.canonical import encode
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.heads import Head
from compliance.proof.keys import ED25519, PrivateKey
from compliance.proof.times import format_time
from compliance.proof.trust import build_trust

ORIGIN = "log.example.test/world"
START = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
METER = "meter:dlms_system_title:414C45000000{:04X}"

Tamper = Callable[[int, dict[str, Any]], dict[str, Any]]


def key_of(name: str, algorithm: str = ED25519) -> PrivateKey:
    """The key that `name` always gives."""
    return PrivateKey.from_seed(algorithm, hashlib.sha256(name.encode()).digest())


@dataclass(slots=True)
class Stored:
    """One leaf as the platform keeps it."""

    data: bytes
    subject: str
    seq: int
    batch_id: str
    index: int
    gone: bool = False

    @property
    def hash(self) -> bytes:
        return merkle.leaf_hash(self.data)


@dataclass
class World:
    """The log, its keys and everything needed to show parts of it."""

    origin: str = ORIGIN
    leaves: list[Stored] = field(default_factory=list)
    heads: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    batches: dict[str, batch.SignedBatch] = field(default_factory=dict)
    minutes: int = 0
    events: int = 0
    log_key: PrivateKey = field(default_factory=lambda: key_of("log"))
    receipt_key: PrivateKey = field(default_factory=lambda: key_of("receipt"))
    witness_key: PrivateKey = field(default_factory=lambda: key_of("witness"))

    def now(self) -> str:
        """A minute later than before."""
        self.minutes += 1
        return format_time(START + timedelta(minutes=self.minutes))

    def event(self, about: str, code: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """An event with the members it must have."""
        self.events += 1
        return {
            "v": 1,
            "id": f"event-{self.events}",
            "type": code,
            "schema": 1,
            "subject": about,
            "occurred_at": "2026-05-04T06:00:00Z",
            "actor": {"service": "test"},
            "data": data or {},
            **more,
        }

    def append(
        self,
        issuer: str,
        keys: Sequence[str],
        events: Sequence[dict[str, Any]],
        *,
        tamper: Tamper | None = None,
        log: str | None = None,
        on_behalf_of: str | None = None,
        credential: str | None = None,
        chain_of: dict[int, str] | None = None,
    ) -> batch.SignedBatch:
        """Sign `events` and append their entries; `tamper` may change what an entry is built from."""
        signed = batch.build(
            events=events,
            log=log or self.origin,
            issuer=issuer,
            source="test",
            sequence=None,
            created=START,
            keys=[key_of(name) for name in keys],
            on_behalf_of=on_behalf_of,
            credential=credential,
        )
        self.batches[signed.batch_id] = signed
        recorded_at = self.now()
        for index, line in enumerate(signed.event_lines):
            about = (chain_of or {}).get(index, events[index]["subject"])
            seq, prev = self.heads.get(about, (-1, None))
            parts: dict[str, Any] = {
                "batch_id": signed.batch_id,
                "event": line,
                "index": index,
                "prev": prev,
                "recorded_at": recorded_at,
                "salt": hashlib.sha256(f"{about}{seq}".encode()).digest()[:16],
                "seq": seq + 1,
                "subject": about,
            }
            if tamper is not None:
                parts = tamper(index, parts)
            data = entry.build(**parts)
            self.leaves.append(Stored(data, parts["subject"], parts["seq"], parts["batch_id"], parts["index"]))
            self.heads[parts["subject"]] = parts["seq"], merkle.leaf_hash(data)
        return signed

    def create(self) -> None:
        """Leaf 0 and the platform's own registration."""
        created = self.event(
            subject.log(self.origin),
            "log.created",
            {
                "origin": self.origin,
                "log_key": self.signer.vkey,
                "receipt_key": self.receipt_key.public.to_object(),
                "platform_key": key_of("platform").public.keyid,
                "vocabulary_sha256": "00" * 32,
            },
        )
        events = [created, self.registered("platform", "platform"), self.key_registered("platform", "platform")]
        self.append("platform", ["platform"], events)

    def register_organisation(self, organisation: str, key: str) -> None:
        """The platform names its first key, the organisation registers it."""
        self.append("platform", ["platform"], [self.registered(organisation, key)])
        self.append(organisation, [key], [self.key_registered(organisation, key)])

    def registered(self, organisation: str, key: str) -> dict[str, Any]:
        """The event that registers an organisation."""
        data = {"name": organisation, "roles": ["manufacturer"], "first_key": key_of(key).public.keyid}
        return self.event(subject.organisation(organisation), "org.registered", data)

    def key_registered(
        self, organisation: str, key: str, *, holder: dict[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        """The event that registers a key."""
        public = key_of(key).public
        data = {
            "organisation": organisation,
            "holder": holder or {"person": f"p-{key}"},
            "key": public.to_object(),
            "valid_from": "2026-05-01T00:00:00Z",
            "valid_until": None,
            **more,
        }
        return self.event(subject.signing_key(public.keyid), "org.key_registered", data)

    def key_revoked(self, key: str, effective_at: str, reason_code: str = "superseded") -> dict[str, Any]:
        """The event that ends a key."""
        data = {"effective_at": effective_at, "reason_code": reason_code, "reason": "test"}
        return self.event(subject.signing_key(key_of(key).public.keyid), "org.key_revoked", data)

    def redact(self, leaf: int, *, named: int | None = None, **changes: Any) -> None:
        """Say that `leaf` (or `named` instead) goes, then let its bytes go."""
        stored = self.leaves[leaf]
        data = {
            "subject": stored.subject,
            "seq": stored.seq,
            "hash": stored.hash.hex(),
            "leaf": leaf if named is None else named,
            "authority": "court",
            "reason": "order 1",
            **changes,
        }
        event = self.event(subject.log(self.origin), "entry.redacted", data)
        self.append("platform", ["platform"], [event])
        stored.gone = True

    @property
    def signer(self) -> note.NoteSigner:
        return note.NoteSigner(self.origin, self.log_key)

    @property
    def witness(self) -> note.NoteSigner:
        return note.NoteSigner("witness.example.test/w", self.witness_key, note.TYPE_COSIGNATURE)

    @property
    def hashes(self) -> list[bytes]:
        return [leaf.hash for leaf in self.leaves]

    def checkpoint(self) -> Checkpoint:
        """What the log would sign now."""
        return Checkpoint(self.origin, len(self.leaves), merkle.root(self.hashes))

    def note(self, checkpoint: Checkpoint | None = None, *, witnessed: bool = True) -> str:
        """The signed note."""
        text = (checkpoint or self.checkpoint()).to_text()
        signed = note.sign(text, [self.signer])
        return signed + self.witness.line(text, time=1_777_000_000) if witnessed else signed

    def heads_envelope(self, subjects: Iterable[str], *, key: PrivateKey | None = None, **changes: Any) -> bytes:
        """The operator's word on the last entries of `subjects`."""
        values = {
            "checkpoint": self.checkpoint(),
            "issued_at": START,
            "heads": [Head(about, *self.heads[about]) for about in subjects],
            **changes,
        }
        return heads.sign(heads.build_payload(**values), key or self.receipt_key)

    def needed(self, subjects: Iterable[str]) -> tuple[set[int], set[str]]:
        """Leaves and whole chains that a bundle about `subjects` must show."""
        whole, leaves = set(subjects), {0}
        while True:
            before = len(whole), len(leaves)
            leaves |= {index for index, leaf in enumerate(self.leaves) if leaf.subject in whole}
            for index in list(leaves):
                leaf = self.leaves[index]
                if leaf.gone:
                    leaves |= {at for at, other in enumerate(self.leaves) if f'"leaf":{index},' in other.data.decode()}
                    continue
                event = entry.read(leaf.data)["event"]
                if event["type"] == "custody.linked" and leaf.subject in whole:
                    cause = event["data"]["cause"]["hash"]
                    leaves |= {at for at, other in enumerate(self.leaves) if other.hash.hex() == cause}
                signed = self.batches[leaf.batch_id]
                envelope = dsse.read_envelope(signed.envelope, payload_type=dsse.BATCH_TYPE)
                whole |= {subject.signing_key(keyid) for keyid in envelope.keyids}
                whole |= {subject.organisation(signed.payload["issuer"])}
                whole |= {subject.organisation(name) for name in [signed.payload.get("on_behalf_of")] if name}
                for at, other in enumerate(self.leaves):
                    if other.subject in whole and b'"org.key_registered"' in other.data:
                        data = entry.read(other.data)["event"]["data"]
                        whole.add(subject.organisation(data["organisation"]))
                        leaves.add(at)
            if (len(whole), len(leaves)) == before:
                return leaves, whole

    def bundle(
        self,
        *subjects: str,
        without: Iterable[int] = (),
        with_leaves: Iterable[int] = (),
        with_batches: Iterable[str] = (),
        **changes: Any,
    ) -> bytes:
        """A bundle about `subjects`; the rest leaves things out, adds them or changes parts of it."""
        leaves, whole = self.needed(subjects)
        leaves = (leaves | set(with_leaves)) - set(without)
        indexes = sorted(leaves)
        paths = dict(zip(indexes, merkle.inclusion_paths(self.hashes, indexes), strict=True))
        shown = [self._bundle_entry(index, paths[index]) for index in indexes]
        ids = {self.leaves[index].batch_id for index in indexes if not self.leaves[index].gone} | set(with_batches)
        values: dict[str, Any] = {
            "log": self.origin,
            "created": START,
            "subjects": subjects,
            "checkpoint": self.note(),
            "entries": shown,
            "batches": [self.batches[batch_id].envelope for batch_id in ids],
            **changes,
        }
        if "heads_envelope" not in values:
            values["heads_envelope"] = self.heads_envelope(sorted(whole))
        return bundle.build(**values)

    def _bundle_entry(self, index: int, path: list[bytes]) -> BundleEntry:
        leaf = self.leaves[index]
        if leaf.gone:
            return BundleEntry(index, tuple(path), None, redacted_hash=leaf.hash)
        hashes = [merkle.leaf_hash(line) for line in self.batches[leaf.batch_id].event_lines]
        return BundleEntry(index, tuple(path), leaf.data, tuple(merkle.inclusion_path(hashes, leaf.index)))

    def write_log(self, folder: Path, *, batches: bool = True) -> Path:
        """The log as a tlog-tiles prefix."""
        for level, index, width, data in layout.new_tiles(
            read_tile=lambda *_: b"", old_size=0, leaf_hashes=self.hashes
        ):
            _write(folder / layout.tile_path(level, index, width), data)
        for first in range(0, len(self.leaves), layout.TILE_WIDTH):
            part = self.leaves[first : first + layout.TILE_WIDTH]
            data = layout.encode_entry_bundle([b"" if leaf.gone else leaf.data for leaf in part])
            _write(folder / layout.entries_path(first // layout.TILE_WIDTH, len(part)), data)
        _write(folder / "checkpoint", self.note().encode())
        for batch_id, signed in self.batches.items() if batches else ():
            hashes = [merkle.leaf_hash(line).hex() for line in signed.event_lines]
            envelope = dsse.read_envelope(signed.envelope, payload_type=dsse.BATCH_TYPE).to_object()
            _write(folder / f"batches/{batch_id}.json", encode({"envelope": envelope, "event_hashes": hashes}))
        return folder

    def write_trust(self, folder: Path, *, quorum: str = "w", pins: dict[str, Iterable[str]] | None = None) -> Path:
        """A trust folder; `pins` names keys, by default the first keys of acme and the platform."""
        pins = {"acme": ["acme"], "platform": ["platform"]} if pins is None else pins
        pinned = {name: frozenset(key_of(key).public.keyid for key in keys) for name, keys in pins.items()}
        receipt = self.receipt_key.public
        trust = build_trust(origin=self.origin, receipt_keys={receipt.keyid: receipt}, pins=pinned)
        policy = f"log {self.signer.vkey}\nwitness w {self.witness.vkey}\nquorum {quorum}\n"
        _write(folder / "log.vkey", f"{self.signer.vkey}\n".encode())
        _write(folder / "policy", policy.encode())
        _write(folder / "trust.json", trust)
        return folder


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
