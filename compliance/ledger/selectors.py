"""Reading the ledger. Scoping by who asks belongs to the rooms above: one log serves all organisations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson
from django.db.models import Count, Min, Subquery
from django.db.models.functions import Coalesce

from compliance.ledger import store, tiles
from compliance.ledger.append import event_key
from compliance.ledger.models import Batch, Entry, EventKey, Head, LeafRange, LogState, Pending, Receipt
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.subject import key_of


@dataclass(frozen=True)
class StoredEntry:
    """One entry of a chain. `body` is empty when it was redacted; then `value` has no members."""

    subject: str
    seq: int
    prev: bytes | None
    hash: bytes
    body: bytes = field(repr=False)
    recorded_at: datetime
    batch_id: str
    index: int

    @cached_property
    def value(self) -> dict[str, Any]:
        """The entry as JSON, the sender's event in `event`."""
        read: dict[str, Any] = orjson.loads(self.body) if self.body else {}
        return read

    @property
    def event(self) -> dict[str, Any]:
        """What the sender stated."""
        stated: dict[str, Any] = self.value["event"]
        return stated


@dataclass(frozen=True, slots=True)
class StoredHead:
    """Where a chain ends."""

    subject: str
    seq: int
    hash: bytes
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as it came."""

    batch_id: str
    payload_sha256: bytes
    envelope: bytes
    event_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A published checkpoint. `published_at` is known of the latest only."""

    note: str
    size: int
    root: bytes
    published_at: datetime | None


def chain(subject: str, *, from_seq: int = 0, to_seq: int | None = None) -> list[StoredEntry]:
    """The entries of `subject` from `from_seq` to `to_seq`, both included, in order."""
    found = Entry.objects.filter(subject=key_of(subject), seq__gte=from_seq).order_by("seq")
    if to_seq is not None:
        found = found.filter(seq__lte=to_seq)
    return [_stored(subject, row) for row in found]


def entry(subject: str, seq: int) -> StoredEntry | None:
    """One entry by its place in its chain."""
    row = Entry.objects.filter(subject=key_of(subject), seq=seq).first()
    return _stored(subject, row) if row else None


def entry_of_event(batch_id: str, index: int) -> StoredEntry | None:
    """The entry of the event at `index` of a batch."""
    row = Entry.objects.filter(batch=bytes.fromhex(batch_id), index=index).first()
    return _named(row) if row else None


def find_event(author: str, event_id: str) -> StoredEntry | None:
    """The entry of the event that `author` called `event_id`."""
    known = EventKey.objects.filter(key=event_key(author, event_id)).first()
    row = Entry.objects.filter(subject=known.subject, seq=known.seq).first() if known else None
    return _named(row) if row else None


def entries_of_batch(batch_id: str) -> list[StoredEntry]:
    """What was recorded of a batch, in batch order."""
    return [_named(row) for row in Entry.objects.filter(batch=bytes.fromhex(batch_id)).order_by("index")]


def head(subject: str) -> StoredHead | None:
    """The last entry of a chain, None while it is empty."""
    row = Head.objects.filter(subject=key_of(subject), seq__gte=0).first()
    return StoredHead(subject, row.seq, row.hash, row.recorded_at) if row else None


def heads(subjects: Sequence[str]) -> dict[str, bytes]:
    """Hashes of the last entries of those chains that have one."""
    keys = {key_of(subject): subject for subject in subjects}
    rows = Head.objects.filter(subject__in=list(keys), seq__gte=0).values_list("subject", "hash")
    return {keys[key]: digest for key, digest in rows}


def batch(batch_id: str) -> StoredBatch | None:
    """A batch by its id."""
    row = Batch.objects.filter(id=bytes.fromhex(batch_id)).first()
    return _stored_batch(row) if row else None


def batches(batch_ids: Sequence[str]) -> list[StoredBatch]:
    """Those batches that exist, sorted by id."""
    rows = Batch.objects.filter(id__in=[bytes.fromhex(batch_id) for batch_id in batch_ids])
    return sorted((_stored_batch(row) for row in rows), key=lambda stored: stored.batch_id)


def receipt(batch_id: str) -> bytes | None:
    """The receipt that was given for a batch."""
    row = Receipt.objects.filter(batch=bytes.fromhex(batch_id), first=0).first()
    return row.envelope if row else None


def leaf_index(subject: str, seq: int) -> int | None:
    """Where in the log an entry lies, None while it waits for its place."""
    found = Entry.objects.filter(subject=key_of(subject), seq=seq).values_list("batch", "index").first()
    if found is None:
        return None
    batch_id, index = found
    first = LeafRange.objects.filter(batch=batch_id).values_list("first_index", flat=True).first()
    return None if first is None else first + Entry.objects.filter(batch=batch_id, index__lt=index).count()


def log_size() -> int:
    """How many entries have a place in the log."""
    return LogState.objects.filter(id=1).values_list("size", flat=True).first() or 0


def waiting() -> tuple[int, datetime | None]:
    """How many batches wait for their place, and when the oldest was recorded that is under no checkpoint."""
    pending = Pending.objects.aggregate(number=Count("pk"), oldest=Min("recorded_at"))
    published = CheckpointRow.objects.order_by("-size").values("size")[:1]
    unpublished = LeafRange.objects.filter(first_index__gte=Coalesce(Subquery(published), 0)).order_by("first_index")
    placed = Entry.objects.filter(batch=Subquery(unpublished.values("batch")[:1])).values_list("recorded_at", flat=True)
    return pending["number"], placed.first() or pending["oldest"]


def latest_checkpoint() -> StoredCheckpoint | None:
    """The checkpoint published last."""
    row = CheckpointRow.objects.order_by("-size").first()
    if row is None:
        return None
    text, lines = note.split(row.note)
    checkpoint = Checkpoint.from_text(text)
    shown = tiles.read_checkpoint()
    if shown is not None and shown.startswith(f"{text}\n") and len(note.split(shown)[1]) > len(lines):
        # Witnesses that were away when it was shown first cosigned it since.
        return StoredCheckpoint(shown, checkpoint.size, checkpoint.root, _published_at())
    return StoredCheckpoint(row.note, checkpoint.size, checkpoint.root, _published_at())


def checkpoint_at(size: int) -> StoredCheckpoint | None:
    """The checkpoint published for exactly `size` entries."""
    row = CheckpointRow.objects.filter(size=size).first()
    if row is None:
        return None
    checkpoint = Checkpoint.from_text(note.split(row.note)[0])
    return StoredCheckpoint(row.note, checkpoint.size, checkpoint.root, None)


def _published_at() -> datetime | None:
    """The publisher dates the file with its own clock."""
    try:
        return datetime.fromtimestamp((tiles.folder() / tiles.CHECKPOINT).stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _stored(subject: str, row: Entry) -> StoredEntry:
    return StoredEntry(subject, row.seq, row.prev, row.hash, row.body, row.recorded_at, row.batch.hex(), row.index)


def _named(row: Entry) -> StoredEntry:
    """With the subject as the bytes say it; a redacted entry has lost it."""
    subject = orjson.loads(row.body)["subject"] if row.body else ""
    return _stored(subject, row)


def _stored_batch(row: Batch) -> StoredBatch:
    hashes = row.event_hashes
    return StoredBatch(
        row.id.hex(),
        row.payload_sha256,
        row.envelope,
        tuple(hashes[at : at + 32] for at in range(0, len(hashes), 32)),
    )


def chains_without_entries(subjects: Iterable[str]) -> set[str]:
    """Those of `subjects` that nothing is recorded about, under that very name."""
    by_key = {key_of(subject): subject for subject in subjects}
    return {by_key[key] for key in store.current().without_entries(list(by_key))} if by_key else set()
