"""Do database, signer and published files belong together? Asked before anything is served, and before every
signature.

A database restored from a backup, by accident or to undo history, is older than what the signer has signed. Going on
with it would give a second history to whoever holds a checkpoint of the first: it stops here, with an explanation.
"""

import logging

from django.conf import settings

from compliance.ledger import clock_guard, guards, rows, signer, tiles, unfinished_import, witnesses
from compliance.ledger.errors import StateRefused, WitnessAlarm
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.models import LogState
from compliance.ledger.signer import Signed
from compliance.proof import merkle, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError

logger = logging.getLogger(__name__)


def verify_state() -> None:
    """For whoever starts to serve or to work: raise LedgerError unless it is safe to go on.

    Takes the clock's word for how long the product was off, and reports guards that are down and a witness's alarm.
    """
    unfinished_import.require_none()
    compare_with_signer()
    if LogState.objects.filter(id=1).exists():
        clock_guard.accept()
    try:
        witnesses.require_no_alarm()
    except WitnessAlarm as alarm:  # what comes in is still recorded, and receipts say what they promise
        logger.critical("%s", alarm)
    for name in guards.missing():
        logger.error("the guard %s is missing: %s. Look with: manage.py fsck", name, guards.HARM)


def compare_with_signer() -> None:
    """Raise StateRefused unless the log in the database continues what was signed and published."""
    state = LogState.objects.filter(id=1).first()
    last = signer.last_signed()
    if last is None:
        _require_nothing_was_signed()
        return
    _require_same_origin(last)
    if state is None or state.size < last.checkpoint.size:
        raise StateRefused(
            f"The database is older than the log that was signed. The signer has signed {last.checkpoint.size} entries "
            f"(at {last.signed_at:%Y-%m-%d %H:%M:%S} UTC), the database knows {state.size if state else 0}. It was "
            "probably restored from a backup. Going on would give others a second history: restore a database that "
            f"holds at least {last.checkpoint.size} entries. Entries recorded since that backup are in "
            f"{tiles.folder() / 'tile' / 'entries'}."
        )
    edge = merkle.RightEdge.from_bytes(last.right_edge)
    for leaf in rows.leaves(edge.size, state.size):
        edge.append(leaf.hash)
    if (edge.size, edge.root()) != (state.size, state.root):
        raise StateRefused(
            f"The log in the database does not continue the one that was signed at {last.checkpoint.size} entries. "
            "Somebody restored an older database and went on with it, or rows were changed. Look with: manage.py fsck"
        )
    _require_published_follows(last)


def _require_nothing_was_signed() -> None:
    published = tiles.read_checkpoint()
    if CheckpointRow.objects.exists() or published is not None:
        raise StateRefused(
            f"{settings.METERPROOF['SIGNER_DIR']} does not remember what was signed, but checkpoints were published. "
            "Put the folder back from its backup: a signer without memory can be made to sign two histories."
        )


def _require_same_origin(last: Signed) -> None:
    if last.checkpoint.origin != settings.METERPROOF["ORIGIN"]:
        raise StateRefused(
            f"The signer signs for the log {last.checkpoint.origin}, the settings say {settings.METERPROOF['ORIGIN']}. "
            "A log keeps its origin for ever: mend METERPROOF_ORIGIN, or choose an empty METERPROOF_VAR for a new log."
        )


def _require_published_follows(last: Signed) -> None:
    """The published file may be older than the signer (a crash between the two), never newer or of another tree."""
    text = tiles.read_checkpoint()
    if text is None:
        return
    try:
        published = Checkpoint.from_text(note.split(text)[0])
    except ProofError as error:
        raise StateRefused(f"{tiles.folder() / tiles.CHECKPOINT} is no checkpoint: {error.detail}") from None
    if published.size > last.checkpoint.size:
        raise StateRefused(
            f"A checkpoint of {published.size} entries is published, but the signer remembers {last.checkpoint.size} "
            f"only. Put {settings.METERPROOF['SIGNER_DIR']} back from its backup."
        )
    if published.size == last.checkpoint.size and published != last.checkpoint:
        raise StateRefused("The published checkpoint is of another tree than the one that was signed.")
