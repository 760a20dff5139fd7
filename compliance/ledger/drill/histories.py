"""Whole histories changed, with all that belongs to them: a chain rewritten, the end cut off, a backup restored."""

from collections.abc import Iterator, Sequence
from functools import partial

from django.conf import settings

from compliance.ledger import tiles
from compliance.ledger.drill.trial import Trial
from compliance.ledger.models import (
    Batch,
    Checkpoint,
    Entry,
    EventKey,
    Head,
    LeafRange,
    LogState,
    Pending,
    Receipt,
)
from compliance.proof import entry as entry_format
from compliance.proof import merkle
from compliance.proof.canonical import encode


def trials() -> Iterator[Trial]:
    """What needs more than one row: L1, L2, and what only a sender's receipt can tell."""
    placed = Entry.objects.filter(batch__in=LeafRange.objects.values("batch"))
    row = placed.filter(seq__gt=0).order_by("subject", "seq").first() or placed.order_by("subject", "seq").first()
    if row is not None:
        what = "a chain rewritten with all its hashes, head and state"
        yield Trial("rewrite", "chain", what, partial(rewrite_chain, row.subject), ("tile/0/", "checkpoint"))
    waiting = list(Pending.objects.values_list("batch", flat=True))
    last = Checkpoint.objects.order_by("-size").first()
    if last is not None:
        places = (f"checkpoint {last.size}", "checkpoint", "batches/")
        yield Trial("truncate", "published", "the end cut off with all that belongs to it", cut_last_published, places)
        what = "rows and checkpoint of yesterday's backup"
        shown = settings.METERPROOF["LOG_DIR"] / tiles.CHECKPOINT
        yield Trial("rollback", "published", what, roll_back, places, (shown,))
    if waiting:
        what = "batches cut out before they were integrated"
        yield Trial("truncate", "not integrated", what, partial(cut, waiting), (), found=False)


def rewrite_chain(subject: bytes) -> None:
    """Other salts in a chain, and everything in the database made to fit."""
    prev = None
    for row in Entry.objects.filter(subject=subject).order_by("seq"):
        rewritten(row, prev).save(force_update=True)
        prev = row.hash
    Head.objects.filter(subject=subject).update(hash=prev)
    forge_state()


def rewritten(row: Entry, prev: bytes | None) -> Entry:
    """The entry with another salt and this `prev`, hash and columns made to fit."""
    value = entry_format.read(row.body) | {"salt": "00" * 16, "prev": None if prev is None else prev.hex()}
    row.body = encode(value)
    row.prev, row.hash = prev, merkle.leaf_hash(row.body)
    return row


def forge_state() -> None:
    """Make the integrator's state fit the entries as they are now."""
    edge = merkle.RightEdge()
    for item in LeafRange.objects.order_by("first_index"):
        edge.extend(list(Entry.objects.filter(batch=item.batch).order_by("index").values_list("hash", flat=True)))
    LogState.objects.update(size=edge.size, root=edge.root(), right_edge=edge.to_bytes())


def cut_last_published() -> None:
    """The last range, all that waits, and the last checkpoint."""
    last = LeafRange.objects.order_by("-first_index")[0]
    cut([last.batch, *Pending.objects.values_list("batch", flat=True)])
    Checkpoint.objects.order_by("-size")[0].delete()
    forge_state()


def roll_back() -> None:
    """As `cut_last_published`, and the published checkpoint set back too."""
    cut_last_published()
    before = Checkpoint.objects.order_by("-size").first()
    if before is not None:
        (settings.METERPROOF["LOG_DIR"] / tiles.CHECKPOINT).write_text(before.note)


def cut(batches: Sequence[bytes]) -> None:
    """Remove batches with all their rows and set heads back."""
    touched = set(Entry.objects.filter(batch__in=batches).values_list("subject", flat=True))
    for row in Entry.objects.filter(batch__in=batches):
        EventKey.objects.filter(subject=row.subject, seq=row.seq).delete()
    for model, name in ((Entry, "batch"), (Receipt, "batch"), (Pending, "batch"), (LeafRange, "batch"), (Batch, "id")):
        model._default_manager.filter(**{f"{name}__in": batches}).delete()
    for subject in touched:
        end = Entry.objects.filter(subject=subject).order_by("-seq").first()
        if end is None:
            Head.objects.filter(subject=subject).delete()
        else:
            Head.objects.filter(subject=subject).update(seq=end.seq, hash=end.hash, recorded_at=end.recorded_at)
