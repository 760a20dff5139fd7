"""Single entries and batches of the ledger, as far as the caller may see them.

The ledger itself knows no readers. An entry is for its author, for who may see the meter at that point of its chain,
and for those whose reach is everything.
"""

from dataclasses import dataclass

from compliance.accounts import policy
from compliance.accounts.policy import Actor, Reach
from compliance.custody import selectors as custody
from compliance.ledger import selectors as ledger
from compliance.ledger.selectors import StoredEntry
from compliance.proof import batch as batches
from compliance.proof import dsse
from compliance.proof.subject import key_of


@dataclass(frozen=True, slots=True)
class VisibleBatch:
    """A batch with its author and receipt."""

    batch_id: str
    author: str
    receipt: bytes


@dataclass(frozen=True, slots=True)
class VisibleEntry:
    """An entry with the author of its event."""

    entry: StoredEntry
    author: str


def batch_of(batch_id: str, actor: Actor) -> VisibleBatch | None:
    """The batch, if it is recorded and `actor` or its organisation is the author, or reads everything.

    Who sees one of its entries does not see the batch: its receipt names the other subjects too.
    """
    author, receipt = _author_of(batch_id), ledger.receipt(batch_id)
    if author is None or receipt is None or not _reads(actor, "batch.read", author):
        return None
    return VisibleBatch(batch_id, author, receipt)


def entry_of(batch_id: str, index: int, actor: Actor) -> VisibleEntry | None:
    """The entry of the event at `index` of a batch, if `actor` may see it."""
    author, entry = _author_of(batch_id), ledger.entry_of_event(batch_id, index)
    if author is None or entry is None:
        return None
    if not _reads(actor, "meter.read", author) and not _sees_meter(entry, actor):
        return None
    return VisibleEntry(entry, author)


def _author_of(batch_id: str) -> str | None:
    batch = ledger.batch(batch_id)
    if batch is None:
        return None
    return batches.author_of(batches.read_payload(dsse.read_envelope(batch.envelope, payload_type=dsse.BATCH_TYPE)))


def _reads(actor: Actor, action: str, author: str) -> bool:
    match policy.reach(actor, action):
        case Reach.ALL:
            return True
        case Reach.OWN:
            return author in policy.organisations_within(actor, action)
    return False


def _sees_meter(entry: StoredEntry, actor: Actor) -> bool:
    if not entry.subject.startswith("meter:"):
        return False
    meter = custody.meter(f"mtr_{key_of(entry.subject).hex()}", actor)
    return meter is not None and custody.may_see(meter, entry.seq, actor)
