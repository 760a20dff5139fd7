"""Appending a signed batch: the only write of the ledger.

One transaction: batch row, locks in the order of the subject keys, signing keys, entries in that order too, the
appliers of other rooms, heads, receipt, outbox. Either all of it commits or nothing was ever there; the receipt leaves
after the commit. The batch was read, verified and judged before; here only what other batches may have changed
meanwhile is looked at again. docs/ledger.md tells the life of an entry step by step.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

import msgspec
from django.conf import settings
from django.db import IntegrityError

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import clock_guard, keys, store
from compliance.ledger.errors import Conflict, Refused, WrongAboutChains
from compliance.ledger.models import Batch, Entry, Receipt
from compliance.ledger.store import ChainHead, EntryRows, KnownEvent
from compliance.ledger.transactions import unit_of_work
from compliance.proof import entry as entry_format
from compliance.proof import receipt as receipt_format
from compliance.proof.canonical import encode
from compliance.proof.layout import MAX_ENTRY_BYTES
from compliance.proof.merkle import leaf_hash
from compliance.proof.subject import key_of
from compliance.proof.times import format_time

__all__ = [
    "AppendContext",
    "Appended",
    "AppendedEntry",
    "IncomingBatch",
    "IncomingEvent",
    "append_batch",
    "event_key",
    "event_keys",
    "hooks",
    "register_applier",
    "register_lock",
    "run_appliers",
    "unit_of_work",
]

logger = logging.getLogger(__name__)

BEFORE_FIRST: Final = -1  # seq of the head of a chain without entries
TICK: Final = timedelta(microseconds=1)  # the finest step of recorded_at
MAX_SPARED_RACES: Final = 20  # lost to batches that were in flight at once: more workers than a machine has cores


class IncomingEvent(msgspec.Struct, frozen=True, gc=False):
    """One event to append, checked and judged. `subject` is the text of the chain it goes to."""

    index: int
    value: dict[str, Any]
    canonical: bytes
    event_hash: bytes
    subject: str


@dataclass(frozen=True, slots=True)
class IncomingBatch:
    """A batch whose envelope and signatures were verified.

    `event_hashes` are those of all its events in order; `events`, in order too, those to append. `begun` holds keys of
    chains that are taken to have entries, `new` of such that are taken to have none: the append tells if that is wrong.
    """

    batch_id: str
    payload_sha256: bytes
    envelope: bytes
    author: str
    issuer: str
    signers: tuple[str, ...]
    event_hashes: tuple[bytes, ...]
    events: Sequence[IncomingEvent]
    begun: frozenset[bytes] = frozenset()
    new: frozenset[bytes] = frozenset()


class AppendedEntry(msgspec.Struct, gc=False):
    """One event as it stands in the log now."""

    index: int
    event_id: str
    event_hash: bytes
    subject: str
    key: bytes  # of the subject
    seq: int
    prev: bytes | None
    hash: bytes
    recorded_at: datetime
    body: bytes
    event: dict[str, Any]
    author: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class AppendContext:
    """What holds for all entries of a batch.

    `held` is what the lock hooks hold for the batch, by their own names. `facts`, by the hash of an entry, is what an
    applier read out of it: those that run later need not read again. `memory`, by the key of a chain that the batch
    moves, is what is remembered of it; the applier of the room whose chain it is puts there what is to be kept with the
    new head.
    """

    batch_id: str
    author: str
    issuer: str
    signers: tuple[str, ...]
    recorded_at: datetime
    held: Mapping[str, Any] = field(default_factory=dict)
    facts: dict[bytes, Any] = field(default_factory=dict)
    memory: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch. With `replay`, it was recorded before and this is what became of it then.

    `spelled` is what the receipt says of the entries, in JSON: objects with commas between them.
    """

    batch_id: str
    entries: list[AppendedEntry]
    duplicates: list[tuple[int, str]]
    refused: list[tuple[int, str]]
    replay: bool
    receipt: bytes
    spelled: bytes


Applier = Callable[[AppendContext, Sequence[AppendedEntry]], None]
LockHook = Callable[[IncomingBatch, bool, dict[str, Any]], datetime | None]

_appliers: list[tuple[str, Applier]] = []
_lock_hooks: list[LockHook] = []


def register_applier(code_prefix: str, function: Applier) -> None:
    """Call `function` in every append transaction with the entries whose type begins with `code_prefix`, in order.

    It runs under the locks of their chains and may write rows keyed by their subjects; it may raise Refused.
    """
    if (code_prefix, function) not in _appliers:
        _appliers.append((code_prefix, function))


def register_lock(function: LockHook) -> None:
    """Call `function` once the chains are locked and before the time is taken.

    It is told whether the batch begins a chain. It locks what the batch relies on (signing keys FOR SHARE), may raise
    Refused, may put what it holds into the last argument, `AppendContext.held`, and may return a moment that
    `recorded_at` must lie after.
    """
    if function not in _lock_hooks:
        _lock_hooks.append(function)


@contextmanager
def hooks(*, appliers: Sequence[tuple[str, Applier]] = (), locks: Sequence[LockHook] = ()) -> Iterator[None]:
    """Let only these hooks run until the block ends: for tests of the ledger alone, and for tools that replay it."""
    before = list(_appliers), list(_lock_hooks)
    _appliers[:], _lock_hooks[:] = appliers, locks
    try:
        yield
    finally:
        _appliers[:], _lock_hooks[:] = before


def event_key(author: str, event_id: str) -> bytes:
    """Sixteen bytes that stand for an author's event id for ever."""
    return hashlib.sha256(f"{author}:{event_id}".encode()).digest()[:16]


def event_keys(author: str, event_ids: Sequence[str]) -> list[bytes]:
    """`event_key` of many events of one author."""
    begun = hashlib.sha256(f"{author}:".encode())
    keys: list[bytes] = []
    for event_id in event_ids:
        key = begun.copy()
        key.update(event_id.encode())
        keys.append(key.digest()[:16])
    return keys


def append_batch(batch: IncomingBatch, *, refused: Mapping[int, str] | None = None) -> Appended:
    """Record `batch`, leaving out the positions in `refused` (position -> problem code).

    A batch that is on record is answered as it was then. Raises Conflict for the same payload under other signatures,
    an event id with other content or a `prev_hint` that moved, Refused for what hooks and appliers refuse. Raises all
    that it can find at once: see `Refused.problems`. Raises WrongAboutChains if one of `batch.begun` has no entry,
    or one of `batch.new` has.
    """
    work = _Work.of(batch, refused or {})
    for race in range(MAX_SPARED_RACES):
        try:
            return _append(work, look_up=race > 0)
        except _OvertakenByAnother:
            continue
    raise Conflict("event.conflict", "other batches keep recording the same events or chains; send the batch again")


class _OvertakenByAnother(Exception):
    """An event id of the batch is on record, or another batch began one of its chains while this one was built.
    Everything is rolled back, and the next round sees what is there.
    """


@dataclass(frozen=True, slots=True)
class _Work:
    """What can be computed once, before and outside the transaction."""

    batch: IncomingBatch
    refused: dict[int, str]
    chain_keys: list[bytes]
    event_keys: list[bytes]

    @classmethod
    def of(cls, batch: IncomingBatch, refused: Mapping[int, str]) -> "_Work":
        indexes = [event.index for event in batch.events]
        if sorted([*indexes, *refused]) != list(range(len(batch.event_hashes))) or indexes != sorted(indexes):
            raise ValueError("every position of the batch is either refused or an event, in order")
        key_by_subject = {text: key_of(text) for text in {event.subject for event in batch.events}}
        found = event_keys(batch.author, [event.value["id"] for event in batch.events])
        if len(set(found)) < len(found):
            raise Refused("event.id_twice", "one event id occurs twice in the batch")
        return cls(batch, dict(refused), [key_by_subject[event.subject] for event in batch.events], found)


@unit_of_work()
def _append(work: _Work, *, look_up: bool) -> Appended:
    batch = work.batch
    statements = store.current()
    reach("ledger.append.begin")
    if not statements.claim_batch(
        batch_id=bytes.fromhex(batch.batch_id),
        payload_sha256=batch.payload_sha256,
        envelope=batch.envelope,
        event_hashes=b"".join(batch.event_hashes),
    ):
        return _replay(batch)
    reach("ledger.append.batch")
    keys = sorted(set(work.chain_keys))
    locked, newest = statements.lock_heads(keys)
    if not (batch.begun.intersection(keys) <= locked.keys() and batch.new.isdisjoint(locked)):
        raise WrongAboutChains
    heads = {key: locked.get(key) or ChainHead(key, BEFORE_FIRST, b"") for key in keys}
    reach("ledger.append.locked")
    held: dict[str, Any] = {}
    begins = len(locked) < len(keys)
    floors = [moment for hook in _lock_hooks if (moment := hook(batch, begins, held)) is not None]
    known = statements.known_events(work.event_keys) if look_up else {}
    duplicates, fresh = _separate(work, known)
    _check_expectations(work, fresh, heads)
    recorded_at = _take_time(newest, floors)
    entries, rows, touched = _build(work, fresh, heads, recorded_at)
    if entries:
        if not statements.claim_event_keys(
            keys=[work.event_keys[position] for position in fresh],
            event_hashes=[entry.event_hash for entry in entries],
            subjects=[entry.key for entry in entries],
            seqs=[entry.seq for entry in entries],
        ):
            raise _OvertakenByAnother
        reach("ledger.append.event_keys")
        try:
            statements.insert_entries(rows)
        except IntegrityError:
            if len(locked) == len(touched):  # only a chain that begins here can be begun by another meanwhile
                raise
            raise _OvertakenByAnother from None
        reach("ledger.append.entries")
        memory = {head.key: head.memory for head in touched}
        run_appliers(
            AppendContext(
                batch.batch_id, batch.author, batch.issuer, batch.signers, recorded_at, held=held, memory=memory
            ),
            entries,
        )
        reach("ledger.append.applied")
        for head in touched:
            head.memory = memory[head.key]
        made = [head for head in touched if head.key not in locked]
        if made and not statements.add_heads(made, recorded_at):
            raise _OvertakenByAnother
        reach("ledger.append.new_heads")
        moved = [head for head in touched if head.key in locked]
        if moved:
            statements.move_heads(moved, recorded_at)
        reach("ledger.append.heads")
        statements.queue(rows.batch, recorded_at)
    spelled = _spell(entries, recorded_at)
    receipt = _sign_receipt(work, spelled, duplicates, recorded_at)
    statements.insert_receipt(bytes.fromhex(batch.batch_id), 0, receipt)
    reach("ledger.append.commit")
    return Appended(batch.batch_id, entries, duplicates, sorted(work.refused.items()), False, receipt, spelled)


def _separate(work: _Work, known: Mapping[bytes, KnownEvent]) -> tuple[list[tuple[int, str]], list[int]]:
    """Positions (in `batch.events`) to append, and (index, first batch) of the events that are on record."""
    fresh: list[int] = []
    same: list[tuple[int, KnownEvent]] = []
    conflicts: list[Refused] = []
    for position, event in enumerate(work.batch.events):
        recorded = known.get(work.event_keys[position])
        if recorded is None:
            fresh.append(position)
        elif recorded.event_hash == event.event_hash:
            same.append((event.index, recorded))
        else:
            detail = (
                f"{work.batch.author} used the id {event.value['id']} for another event, {recorded.event_hash.hex()}; "
                f"this one is {event.event_hash.hex()}"
            )
            conflicts.append(Conflict("event.conflict", detail, index=event.index, pointer="/id"))
    if conflicts:
        raise _together(conflicts)
    duplicates = [
        (index, Entry.objects.values_list("batch", flat=True).get(subject=recorded.subject, seq=recorded.seq).hex())
        for index, recorded in same
    ]
    return duplicates, fresh


def _check_expectations(work: _Work, fresh: Sequence[int], heads: Mapping[bytes, ChainHead]) -> None:
    """What an event says about its chain: `prev_hint` is the head before the batch, `corrects` an earlier entry."""
    problems: list[Refused] = []
    for position in fresh:
        event = work.batch.events[position]
        head = heads[work.chain_keys[position]]
        if "prev_hint" in event.value and event.value["prev_hint"] != (head.hash.hex() if head.seq >= 0 else None):
            detail = f"the chain of {event.subject} ends with {head.hash.hex() or 'no entry yet'}"
            problems.append(Conflict("chain.moved", detail, index=event.index, pointer="/prev_hint"))
        corrects = event.value.get("corrects")
        if corrects and not Entry.objects.filter(subject=head.key, hash=bytes.fromhex(corrects)).exists():
            detail = f"no earlier entry of {event.subject} has the hash {corrects}"
            problems.append(Refused("chain.corrects", detail, index=event.index, pointer="/corrects"))
    if problems:
        raise _together(problems)


def _together(problems: Sequence[Refused]) -> Refused:
    """The first problem, carrying the others."""
    first = problems[0]
    return type(first)(first.code, first.detail, index=first.index, pointer=first.pointer, others=tuple(problems[1:]))


def _take_time(newest: datetime, floors: Sequence[datetime]) -> datetime:
    """Now, or just after what came before: `newest`, the latest that stands in a chain, `floors`, at which was recorded
    what the batch relies on, and what waits for its place in the log. The log takes what waits in the order of its
    times: were it judged in another one, a replay would come to other projections.
    """
    now = clock.now()
    waiting = clock_guard.require_plausible(now)
    before = [newest, *floors] if waiting is None else [newest, waiting, *floors]
    earliest = max(before) + TICK
    if earliest > now:
        logger.warning("the clock is behind the log by %s; the log's time goes on by one microsecond", earliest - now)
    return max(now, earliest)


def _build(
    work: _Work, fresh: Sequence[int], heads: Mapping[bytes, ChainHead], recorded_at: datetime
) -> tuple[list[AppendedEntry], EntryRows, list[ChainHead]]:
    """The entries of the events at `fresh`, their rows, and the heads they move, already moved, sorted by key.

    Where chains begin, the rows are in the order of their keys, too: two batches that begin the same ones wait for each
    other at most one way.
    """
    batch_id, author, events = work.batch.batch_id, work.batch.author, work.batch.events
    template = entry_format.Template(batch_id=batch_id, recorded_at=format_time(recorded_at))
    begins = any(head.seq == BEFORE_FIRST for head in heads.values())
    salts = os.urandom(entry_format.SALT_BYTES * len(fresh))
    entries: list[AppendedEntry] = []
    touched: dict[bytes, ChainHead] = {}
    for position, salt_at in zip(fresh, range(0, len(salts), entry_format.SALT_BYTES), strict=True):
        event = events[position]
        key = work.chain_keys[position]
        head = touched[key] = heads[key]
        prev = head.hash if head.seq >= 0 else None
        seq = head.seq + 1
        body = template.build(
            event=event.canonical,
            index=event.index,
            prev=prev,
            salt=salts[salt_at : salt_at + entry_format.SALT_BYTES],
            seq=seq,
            subject=event.subject,
        )
        if len(body) > MAX_ENTRY_BYTES:
            raise Refused(
                "event.size", f"as an entry it has {len(body)} bytes, at most {MAX_ENTRY_BYTES} fit", index=event.index
            )
        head.seq, head.hash = seq, leaf_hash(body)
        entries.append(
            AppendedEntry(
                event.index,
                event.value["id"],
                event.event_hash,
                event.subject,
                key,
                seq,
                prev,
                head.hash,
                recorded_at,
                body,
                event.value,
                author,
                batch_id,
            )
        )
    ordered = sorted(entries, key=attrgetter("key")) if begins else entries
    rows = EntryRows(
        batch=bytes.fromhex(batch_id),
        recorded_at=recorded_at,
        subjects=[entry.key for entry in ordered],
        seqs=[entry.seq for entry in ordered],
        prevs=[entry.prev for entry in ordered],
        hashes=[entry.hash for entry in ordered],
        bodies=[entry.body for entry in ordered],
        indexes=[entry.index for entry in ordered],
    )
    return entries, rows, [touched[key] for key in sorted(touched)]


def run_appliers(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """Let the other rooms derive their rows from `entries`: in an append, and when it is replayed after a restore."""
    for prefix, function in _appliers:
        concerned = [entry for entry in entries if entry.event["type"].startswith(prefix)] if prefix else entries
        if concerned:
            function(context, concerned)


def _spell(entries: Sequence[AppendedEntry], recorded_at: datetime) -> bytes:
    """What the receipt says of them."""
    moment = format_time(recorded_at)
    return b",".join(
        [
            receipt_format.ReceiptEntry(
                entry.event_id, entry.event_hash, entry.index, entry.subject, entry.seq, entry.prev, entry.hash, moment
            ).spell()
            for entry in entries
        ]
    )


def _sign_receipt(work: _Work, spelled: bytes, duplicates: Sequence[tuple[int, str]], recorded_at: datetime) -> bytes:
    issued_at = max(clock.now(), recorded_at)
    payload = receipt_format.splice_payload(
        log=settings.METERPROOF["ORIGIN"],
        batch=work.batch.batch_id,
        first=0,
        count=len(work.batch.event_hashes),
        issued_at=issued_at,
        merge_by=issued_at + timedelta(seconds=settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"]),
        entries=spelled,
        duplicates=duplicates,
        refused=work.refused.items(),
    )
    return receipt_format.sign(payload, keys.receipt_key())


def _replay(batch: IncomingBatch) -> Appended:
    """What was answered when this batch was recorded."""
    recorded = Batch.objects.get(payload_sha256=batch.payload_sha256)
    if recorded.id.hex() != batch.batch_id:
        raise Conflict(
            "batch.conflict",
            f"these events were recorded as batch {recorded.id.hex()}, under other signatures",
        )
    receipt = Receipt.objects.get(batch=recorded.id, first=0)
    payload = receipt_format.read(receipt.envelope).payload
    stored = {row.index: row for row in Entry.objects.filter(batch=recorded.id)}
    event_by_index = {event.index: event for event in batch.events}
    entries = []
    for said in payload["entries"]:
        row, event = stored[said["index"]], event_by_index.get(said["index"])
        entries.append(
            AppendedEntry(
                row.index,
                said["event_id"],
                bytes.fromhex(said["event_hash"]),
                said["subject"],
                row.subject,
                row.seq,
                row.prev,
                row.hash,
                row.recorded_at,
                row.body,
                event.value if event else entry_format.read(row.body)["event"],
                batch.author,
                batch.batch_id,
            )
        )
    return Appended(
        batch.batch_id,
        entries,
        [(item["index"], item["batch"]) for item in payload["duplicates"]],
        [(item["index"], item["code"]) for item in payload["refused"]],
        True,
        receipt.envelope,
        encode(payload["entries"])[1:-1],
    )
