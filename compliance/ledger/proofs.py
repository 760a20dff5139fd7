"""What a stranger can check without us: inclusion, consistency, heads and proof bundles, all under the latest
checkpoint.

A bundle is complete in the sense of docs/ledger.md: whole chains of its subjects and of every organisation and key
that they rest on, single entries for leaf 0, for causes of linked entries and for redactions, and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson
from django.conf import settings
from django.db import connection

from compliance.jobs import clock
from compliance.ledger import anchors, key_history, keys, selectors, tiles
from compliance.ledger.errors import NoLog
from compliance.ledger.selectors import StoredBatch, StoredCheckpoint
from compliance.proof import batch as batch_format
from compliance.proof import bundle, dsse, heads, merkle, tile_proofs
from compliance.proof import cose as cose_keys
from compliance.proof import cose_receipt as cose
from compliance.proof import subject as subjects
from compliance.proof import tlog_proof as proof_file
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.layout import ReadTile
from compliance.proof.witness_protocol import AddCheckpoint

_LINKED: Final = "custody.linked"
_REDACTED: Final = "entry.redacted"
_KEY_REGISTERED: Final = "org.key_registered"

_CHAIN: Final = (
    'SELECT e.seq, e.hash, e.body, e.batch, e."index", r.first_index + '
    '(SELECT count(*) FROM ledger_entry o WHERE o.batch = e.batch AND o."index" < e."index") '
    "FROM ledger_entry e JOIN ledger_leaf_range r ON r.batch = e.batch "
    "WHERE e.subject = %s AND e.seq >= %s AND e.seq <= %s AND r.first_index < %s ORDER BY e.seq"
)
_LAST_SEQ: Final = 2**31 - 1


class NotYetIncluded(Exception):
    """There is no checkpoint over this entry yet; the receipt says by when there will be."""

    code = "proof.pending"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotPublished(Exception):
    """What a proof was asked for is not there: no checkpoint of that size, or an entry whose bytes were redacted."""


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry with its place in the log. `value` is empty when the entry was redacted."""

    subject: str
    seq: int
    hash: bytes
    body: bytes
    batch_id: str
    index: int
    leaf: int
    value: Mapping[str, Any]


def tlog_proof(subject: str, seq: int) -> str:
    """The `.tlog-proof` of an entry under the latest checkpoint. Raises NotYetIncluded."""
    checkpoint = _latest()
    leaf = _leaf(subject, seq, checkpoint)
    path = tile_proofs.inclusion_path(tiles.read_tile, leaf, checkpoint.size)
    return proof_file.build(index=leaf, path=path, checkpoint=checkpoint.note)


def cose_receipt(subject: str, seq: int) -> bytes:
    """The COSE receipt of inclusion of an entry under the latest checkpoint. Raises NotYetIncluded."""
    checkpoint = _latest()
    leaf = _leaf(subject, seq, checkpoint)
    path = tile_proofs.inclusion_path(tiles.read_tile, leaf, checkpoint.size)
    entry = selectors.entry(subject, seq)
    if entry is None or not entry.body:
        raise NotPublished(f"the bytes of {subject} seq {seq} are gone")
    merkle.verify_inclusion(
        leaf_hash=merkle.leaf_hash(entry.body), index=leaf, size=checkpoint.size, path=path, root=checkpoint.root
    )
    return cose.sign_inclusion(
        log=settings.METERPROOF["ORIGIN"],
        subject=subject,
        index=leaf,
        size=checkpoint.size,
        path=path,
        root=checkpoint.root,
        at=int(clock.now().timestamp()),
        key=keys.receipt_key(),
    )


def consistency_proof(first: int, second: int) -> bytes:
    """The proof that the log at the published size `first` is the beginning of that at `second`, with its checkpoint.

    Raises NotPublished unless there is a checkpoint for each.
    """
    old, new = _published(first, second)
    return AddCheckpoint(old.size, tuple(_consistency(old, new)), new.note).to_bytes()


def consistency_receipt(first: int, second: int) -> bytes:
    """The same as a COSE receipt. Raises NotPublished, also for equal sizes: there is nothing to prove then."""
    old, new = _published(first, second)
    if old.size in (0, new.size):
        raise NotPublished("two equal sizes, or an empty log, have no receipt")
    return cose.sign_consistency(
        log=settings.METERPROOF["ORIGIN"],
        first=old.size,
        second=new.size,
        path=_consistency(old, new),
        root=new.root,
        at=int(clock.now().timestamp()),
        key=keys.receipt_key(),
    )


def receipt_key_set() -> bytes:
    """Every key of receipts, also the revoked, as a COSE_KeySet, for COSE tools. Raises NotPublished without a log."""
    try:
        return cose_keys.key_set(key_history.read().receipt_keys)
    except NoLog:
        raise NotPublished("there is no log yet") from None


def heads_statement(subject_texts: Iterable[str]) -> bytes:
    """The operator's signed word which entries are the last of these chains under the latest checkpoint."""
    checkpoint = _latest()
    chains = {text: _chain(text, checkpoint.size) for text in set(subject_texts)}
    return _heads(checkpoint, {text: entries for text, entries in chains.items() if entries})


def proof_bundle(subject_texts: Sequence[str]) -> bytes:
    """The bundle of `subject_texts` under the latest checkpoint. Raises NotYetIncluded for one without an entry
    there.
    """
    checkpoint = _latest()
    chains, single, batches = _collect(sorted(set(subject_texts)), checkpoint.size)
    entries = {entry.leaf: entry for chain in chains.values() for entry in chain} | single
    return bundle.build(
        log=settings.METERPROOF["ORIGIN"],
        created=clock.now(),
        subjects=subject_texts,
        checkpoint=checkpoint.note,
        time_tokens=anchors.tokens_over(checkpoint.size, checkpoint.note)[-bundle.MAX_TIME_TOKENS :],
        entries=_with_paths(entries, batches, checkpoint.size),
        batches=[batch.envelope for batch in batches.values()],
        heads_envelope=_heads(checkpoint, chains),
    )


def _latest() -> StoredCheckpoint:
    checkpoint = selectors.latest_checkpoint()
    if checkpoint is None:
        raise NotYetIncluded("nothing has been published yet")
    return checkpoint


def _leaf(subject: str, seq: int, checkpoint: StoredCheckpoint) -> int:
    leaf = selectors.leaf_index(subject, seq)
    if leaf is None or leaf >= checkpoint.size:
        raise NotYetIncluded(f"{subject} seq {seq} is recorded, but not yet under a checkpoint")
    return leaf


def _published(first: int, second: int) -> tuple[StoredCheckpoint, StoredCheckpoint]:
    old, new = selectors.checkpoint_at(first), selectors.checkpoint_at(second)
    if old is None or new is None or first > second:
        raise NotPublished(f"no checkpoints for {first} and then {second} entries")
    return old, new


def _consistency(old: StoredCheckpoint, new: StoredCheckpoint) -> list[bytes]:
    """The path, which must lead from one root to the other: the receipt key signs for nothing it has not seen."""
    path = tile_proofs.consistency_path(tiles.read_tile, old.size, new.size)
    merkle.verify_consistency(
        first_size=old.size, second_size=new.size, first_root=old.root, second_root=new.root, path=path
    )
    return path


def _collect(
    asked: Sequence[str], size: int
) -> tuple[dict[str, list[ProvenEntry]], dict[int, ProvenEntry], dict[str, StoredBatch]]:
    """Chains, single entries by leaf, and batches of a bundle: whatever is in it brings along what it rests on."""
    chains: dict[str, list[ProvenEntry]] = {}
    batches: dict[str, StoredBatch] = {}
    first = _require_entries(_chain(subjects.log(settings.METERPROOF["ORIGIN"]), size, last=0), "the log")
    single = {entry.leaf: entry for entry in first}
    todo = [*asked, *_rests_on(first, batches)]
    while todo:
        text = todo.pop()
        if text in chains:
            continue
        chains[text] = _require_entries(_chain(text, size), text)
        brought = list(chains[text])
        if text in asked:
            brought += _causes(chains[text], size)
        brought += _redactions(brought, size)
        single |= {entry.leaf: entry for entry in brought}
        todo += _rests_on(brought, batches)
    whole = {entry.leaf for chain in chains.values() for entry in chain}
    return chains, {leaf: entry for leaf, entry in single.items() if leaf not in whole}, batches


def _rests_on(entries: Iterable[ProvenEntry], batches: dict[str, StoredBatch]) -> list[str]:
    """Chains of the organisations and keys that `entries` rest on. Adds their batches to `batches`."""
    texts: list[str] = []
    named = {entry.batch_id for entry in entries if entry.body}
    for stored in selectors.batches([batch_id for batch_id in named if batch_id not in batches]):
        batches[stored.batch_id] = stored
        statement = dsse.read_envelope(stored.envelope, payload_type=dsse.BATCH_TYPE)
        payload = batch_format.read_payload(statement)
        texts += [subjects.signing_key(keyid) for keyid in statement.keyids]
        texts += [subjects.organisation(payload[name]) for name in ("issuer", "on_behalf_of") if name in payload]
    for entry in entries:
        if entry.value and entry.value["event"]["type"] == _KEY_REGISTERED:
            texts.append(subjects.organisation(entry.value["event"]["data"]["organisation"]))
    return texts


def _causes(chain: Iterable[ProvenEntry], size: int) -> list[ProvenEntry]:
    found: list[ProvenEntry] = []
    for entry in chain:
        if entry.value and entry.value["event"]["type"] == _LINKED:
            cause = entry.value["event"]["data"]["cause"]
            found += _chain(cause["subject"], size, first=cause["seq"], last=cause["seq"])
    return found


def _redactions(entries: Iterable[ProvenEntry], size: int) -> list[ProvenEntry]:
    """The entries that say why bytes of `entries` are gone."""
    gone = {(entry.subject, entry.seq) for entry in entries if not entry.body}
    if not gone:
        return []
    return [
        entry
        for entry in _chain(subjects.log(settings.METERPROOF["ORIGIN"]), size)
        if entry.value["event"]["type"] == _REDACTED
        and (entry.value["event"]["data"]["subject"], entry.value["event"]["data"]["seq"]) in gone
    ]


def _chain(text: str, size: int, *, first: int = 0, last: int = _LAST_SEQ) -> list[ProvenEntry]:
    """Entries `first` to `last` of a chain that lie below `size`, with their places."""
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, [subjects.key_of(text), first, last, size])
        return [
            ProvenEntry(
                text,
                seq,
                bytes(hash_),
                bytes(body),
                bytes(batch).hex(),
                index,
                leaf,
                orjson.loads(bytes(body)) if body else {},
            )
            for seq, hash_, body, batch, index, leaf in cursor.fetchall()
        ]


def _require_entries(chain: list[ProvenEntry], text: str) -> list[ProvenEntry]:
    if not chain:
        raise NotYetIncluded(f"{text} has no entry under the latest checkpoint")
    return chain


def _with_paths(
    entries: Mapping[int, ProvenEntry], batches: Mapping[str, StoredBatch], size: int
) -> list[bundle.BundleEntry]:
    read_tile: ReadTile = cache(tiles.read_tile)
    event_paths: dict[tuple[str, int], Sequence[bytes]] = {}
    for batch_id, stored in batches.items():
        indexes = [entry.index for entry in entries.values() if entry.batch_id == batch_id and entry.body]
        paths = merkle.inclusion_paths(stored.event_hashes, indexes)
        event_paths |= {(batch_id, index): path for index, path in zip(indexes, paths, strict=True)}
    made = []
    for leaf, entry in sorted(entries.items()):
        path = tuple(tile_proofs.inclusion_path(read_tile, leaf, size))
        if entry.body:
            event_path = tuple(event_paths[entry.batch_id, entry.index])
            made.append(bundle.BundleEntry(leaf, path, entry.body, event_path))
        else:
            made.append(bundle.BundleEntry(leaf, path, None, redacted_hash=entry.hash))
    return made


def _heads(checkpoint: StoredCheckpoint, chains: Mapping[str, Sequence[ProvenEntry]]) -> bytes:
    tree = Checkpoint(settings.METERPROOF["ORIGIN"], checkpoint.size, checkpoint.root)
    last = [heads.Head(text, entries[-1].seq, entries[-1].hash) for text, entries in chains.items()]
    return heads.sign(heads.build_payload(checkpoint=tree, issued_at=clock.now(), heads=last), keys.receipt_key())
