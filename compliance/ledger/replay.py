"""Entries read again from the published log into a database that is older than it, byte for byte.

What is read must give the very root that the signer signed last; else nothing is written. Receipts are given anew, as
they are not published: they promise the same entries. Rows that other rooms derive from entries come back with them;
what only stood in the database does not, and fsck names it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import clock_guard, keys, selectors, store, tiles
from compliance.ledger.append import BEFORE_FIRST, AppendContext, AppendedEntry, event_key, run_appliers
from compliance.ledger.errors import Damaged, StateRefused
from compliance.ledger.models import Entry, EventKey, LeafRange, LogState, Pending, Receipt
from compliance.ledger.signer import Signed
from compliance.ledger.store import ChainHead, EntryRows
from compliance.ledger.transactions import unit_of_work
from compliance.proof import batch as batch_format
from compliance.proof import dsse, layout, merkle
from compliance.proof import entry as entry_format
from compliance.proof import receipt as receipt_format
from compliance.proof import subject as subjects
from compliance.proof.canonical import encode
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.merkle import leaf_hash
from compliance.proof.times import parse_time

RESTORED: Final = "log.restored"
UNKNOWN_REFUSAL: Final = "restore.unknown"  # of a position without an entry: only the lost receipt said why


def replay(folder: Path, last: Signed) -> int:
    """Read the entries of the log in `folder` that lie between this database and `last`. Returns how many.

    Raises StateRefused if they are not what was signed; then nothing has changed. To be called inside
    `signer.exclusive`, before anything is appended to the restored database.
    """
    state = LogState.objects.get(id=1)
    size = last.checkpoint.size
    if state.size >= size:
        return 0
    edge = merkle.RightEdge.from_bytes(state.right_edge)
    for body in _bodies(folder, state.size, size):
        edge.append(leaf_hash(body))
    if (edge.size, edge.root()) != (size, last.checkpoint.root):
        raise StateRefused(
            f"The entries in {folder} do not give the log of {size} entries that was signed. Take the log folder of "
            "this installation, or a mirror's copy of it with entries and batches."
        )
    _write(folder, state, size, edge)
    return size - state.size


def checkpoints_lost() -> int:
    """How many signed checkpoints the log says were lost with a database: their rows cannot come back.

    An entry whose bytes cannot be read says nothing here; fsck, which asks, names it in its place.
    """
    lost = 0
    for row in selectors.chain(subjects.log(settings.METERPROOF["ORIGIN"])):
        with suppress(ProofError):
            event = entry_format.read(row.body)["event"]
            lost += event["data"]["checkpoints"] if event["type"] == RESTORED else 0
    return lost


@unit_of_work()
def _write(folder: Path, state: LogState, size: int, edge: merkle.RightEdge) -> None:
    position, newest = state.size, clock_guard.latest_seen()
    entries = ((body, entry_format.read(body)) for body in _bodies(folder, state.size, size))
    for batch, group in groupby(entries, key=lambda pair: pair[1]["batch"]):
        rows = list(group)
        _write_batch(folder, batch, rows)
        LeafRange.objects.create(first_index=position, count=len(rows), batch=bytes.fromhex(batch))
        Pending.objects.filter(batch=bytes.fromhex(batch)).delete()
        position += len(rows)
        newest = max(newest, parse_time(rows[0][1]["recorded_at"]))
    LogState.objects.filter(id=1).update(size=size, root=edge.root(), right_edge=edge.to_bytes())
    clock_guard.remember(newest)


def _write_batch(folder: Path, batch: str, rows: Sequence[tuple[bytes, dict[str, Any]]]) -> None:
    batch_id = bytes.fromhex(batch)
    stored = list(Entry.objects.filter(batch=batch_id).order_by("index").values_list("body", flat=True))
    if stored:  # it waited to be integrated when the backup was taken
        if stored != [body for body, _ in rows]:
            raise Damaged(f"batch {batch}", "the backup has other entries of it than the published log")
        return
    envelope, payload, hashes, signers = _read_batch(folder, batch)
    recorded_at = parse_time(rows[0][1]["recorded_at"])
    author = batch_format.author_of(payload)
    statements = store.current()
    if not statements.claim_batch(
        batch_id=batch_id,
        payload_sha256=hashlib.sha256(encode(payload)).digest(),
        envelope=envelope,
        event_hashes=b"".join(hashes),
    ):
        raise Damaged(f"batch {batch}", "the backup has its events under other signatures")
    entries = [_entry(body, said, author) for body, said in rows]
    chains = sorted({entry.key for entry in entries})
    locked, _ = statements.lock_heads(chains)
    heads = {key: locked.get(key) or ChainHead(key, BEFORE_FIRST, b"") for key in chains}
    for entry in entries:
        head = heads[entry.key]
        if (entry.seq, entry.prev) != (head.seq + 1, head.hash if head.seq >= 0 else None):
            raise Damaged(f"entry {entry.subject}/{entry.seq}", "it does not follow what the backup has of its chain")
        head.seq, head.hash = entry.seq, entry.hash
    chain_keys = [entry.key for entry in entries]
    if not statements.claim_event_keys(
        keys=[event_key(author, entry.event_id) for entry in entries],
        event_hashes=[entry.event_hash for entry in entries],
        subjects=chain_keys,
        seqs=[entry.seq for entry in entries],
    ):
        raise Damaged(f"batch {batch}", "the backup has one of its events in another entry")
    statements.insert_entries(
        EntryRows(
            batch=batch_id,
            recorded_at=recorded_at,
            subjects=chain_keys,
            seqs=[entry.seq for entry in entries],
            prevs=[entry.prev for entry in entries],
            hashes=[entry.hash for entry in entries],
            bodies=[entry.body for entry in entries],
            indexes=[entry.index for entry in entries],
        )
    )
    memory = {key: heads[key].memory for key in chains}
    run_appliers(AppendContext(batch, author, payload["issuer"], signers, recorded_at, memory=memory), entries)
    for key, remembered in memory.items():
        heads[key].memory = remembered
    statements.add_heads([heads[key] for key in chains if key not in locked], recorded_at)
    statements.move_heads(list(locked.values()), recorded_at)
    Receipt.objects.create(batch=batch_id, first=0, envelope=_receipt(batch, hashes, entries, recorded_at))


def _entry(body: bytes, said: dict[str, Any], author: str) -> AppendedEntry:
    event = said["event"]
    return AppendedEntry(
        said["index"],
        event["id"],
        leaf_hash(encode(event)),
        said["subject"],
        subjects.key_of(said["subject"]),
        said["seq"],
        None if said["prev"] is None else bytes.fromhex(said["prev"]),
        leaf_hash(body),
        parse_time(said["recorded_at"]),
        body,
        event,
        author,
        said["batch"],
    )


def _receipt(batch: str, hashes: Sequence[bytes], entries: Sequence[AppendedEntry], recorded_at: datetime) -> bytes:
    """The same promise as the first time, signed now: of positions without an entry only the lost one said why."""
    recorded = {entry.index for entry in entries}
    duplicates, refused = [], []
    for index in sorted(set(range(len(hashes))) - recorded):
        known = EventKey.objects.filter(event_hash=hashes[index]).first()
        if known is None:
            refused.append((index, UNKNOWN_REFUSAL))
        else:
            first = Entry.objects.values_list("batch", flat=True).get(subject=known.subject, seq=known.seq)
            duplicates.append((index, first.hex()))
    issued_at = max(clock.now(), recorded_at)
    payload = receipt_format.build_payload(
        log=settings.METERPROOF["ORIGIN"],
        batch=batch,
        first=0,
        count=len(hashes),
        issued_at=issued_at,
        merge_by=issued_at + timedelta(seconds=settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"]),
        entries=[
            receipt_format.ReceiptEntry(
                entry.event_id,
                entry.event_hash,
                entry.index,
                entry.subject,
                entry.seq,
                entry.prev,
                entry.hash,
                entry_format.read(entry.body)["recorded_at"],
            )
            for entry in entries
        ],
        duplicates=duplicates,
        refused=refused,
    )
    return receipt_format.sign(payload, keys.receipt_key())


def _read_batch(folder: Path, batch: str) -> tuple[bytes, dict[str, Any], list[bytes], tuple[str, ...]]:
    """Envelope, payload, event hashes and signers of a published batch. Raises Damaged."""
    path = folder / tiles.BATCHES / f"{batch}.json"
    try:
        value = orjson.loads(path.read_bytes())
        envelope = encode(value["envelope"])
        statement = dsse.read_envelope(envelope, payload_type=dsse.BATCH_TYPE, place=str(path))
        payload = batch_format.read_payload(statement, place=str(path))
        hashes = [bytes.fromhex(text) for text in value["event_hashes"]]
    except FileNotFoundError:
        raise Damaged(str(path), "the file is missing") from None
    except (ValueError, KeyError, TypeError, ProofError) as error:
        raise Damaged(str(path), f"it is no published batch: {error}") from error
    if statement.id != batch or len(hashes) != payload["count"] or merkle.root(hashes).hex() != payload["root"]:
        raise Damaged(str(path), "it is not the batch whose name it has")
    return envelope, payload, hashes, tuple(statement.keyids)


def _bodies(folder: Path, first: int, last: int) -> Iterator[bytes]:
    """Entries `first` to before `last`, from the bundles of a log of `last` entries or more. Raises StateRefused."""
    for index in range(first // TILE_WIDTH, -(-last // TILE_WIDTH)):
        width = min(TILE_WIDTH, last - index * TILE_WIDTH)
        paths = [folder / layout.entries_path(index, width), folder / layout.entries_path(index)]
        found = next((path for path in paths if path.exists()), None)
        if found is None:
            raise StateRefused(f"{paths[0]} is missing: the entries recorded since the backup cannot be read again.")
        bundle = layout.decode_entry_bundle(found.read_bytes())[:width]
        if not all(bundle):
            raise StateRefused(f"{found} holds redacted entries: restore a backup that was taken after the redaction.")
        yield from bundle[max(0, first - index * TILE_WIDTH) :]
