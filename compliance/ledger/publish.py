"""Publishing: tiles and batches as files, a checkpoint signed over them, its cosignatures, then the file `checkpoint`.

Each step can be done again: files come from committed rows and are compared if they are there; the signer remembers
what it signed before it lets go of it; a checkpoint that was signed but not yet shown, or not cosigned enough, is shown
the next time, before anything newer is signed.
"""

import logging
import os
from datetime import datetime

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import clock_guard, files, key_history, mirror, signer, startup, tiles, witnesses
from compliance.ledger.errors import Damaged, NoLog
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.models import LogState
from compliance.ledger.transactions import unit_of_work
from compliance.ledger.witnesses import Collected
from compliance.proof import merkle, tile_proofs
from compliance.proof.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


def publish(*, wait: bool = True, hurry: bool = False) -> Checkpoint | None:
    """Publish the log as it is integrated; None if that is published already, or another publisher is at it.

    In a `hurry` witnesses that failed a moment ago are asked again at once.

    Raises StateRefused or SignerRefused when the log is not the one that was signed before, WitnessAlarm when a witness
    knows another, Damaged when files or rows contradict each other. Nothing is published then.
    """
    with signer.exclusive(wait=wait) as alone:
        return _publish(hurry=hurry) if alone else None


def rebuild() -> Checkpoint | None:
    """Derive every file of the log folder from the rows again, then publish. Files that differ stop it: move them
    away.
    """
    with signer.exclusive(wait=True):
        last = signer.last_signed()
        if last is not None:
            startup.compare_with_signer()
            tiles.extend(0, last.checkpoint.size)
            _require_tiles_give(last.checkpoint.size, last.checkpoint.root)
            sizes = list(CheckpointRow.objects.order_by("size").values_list("size", flat=True))
            tiles.keep_partial_tiles(sizes, last.checkpoint.size)
            _show(witnesses.collect(last.note, last.checkpoint), last.note, last.checkpoint, last.signed_at)
        return _publish(hurry=True)


def _publish(*, hurry: bool) -> Checkpoint | None:
    state = LogState.objects.filter(id=1).first()
    if state is None:
        raise NoLog
    startup.compare_with_signer()
    witnesses.require_no_alarm()
    last = signer.last_signed()
    if last is not None:
        if mirror.is_mirror() and last.checkpoint.size == state.size:
            return None  # cosignatures came along with the import; nobody is asked for more
        collected = witnesses.collect(last.note, last.checkpoint, hurry=hurry)
        if not _show(collected, last.note, last.checkpoint, last.signed_at) or last.checkpoint.size == state.size:
            return None
    elif state.size == 0:
        return None
    published = last.checkpoint.size if last else 0
    tiles.extend(published, state.size)
    _require_tiles_give(state.size, state.root)
    reach("ledger.publish.tiles")
    now = clock.now()
    clock_guard.require_plausible(now)  # F45: what is signed for a time to come would be the last for as long
    note = signer.sign(
        expected=last.checkpoint if last else None,
        edge=merkle.RightEdge.from_bytes(state.right_edge),
        consistency=tile_proofs.consistency_path(tiles.read_tile, published, state.size),
        at=now,
        verifiers=key_history.read().verifiers_at(state.size),
    )
    reach("ledger.publish.signed")
    checkpoint = Checkpoint.from_text(note.split("\n\n")[0] + "\n")
    is_shown = _show(witnesses.collect(note, checkpoint), note, checkpoint, now)
    return checkpoint if is_shown else None


def _require_tiles_give(size: int, root: bytes) -> None:
    if tiles.root(size) != root:
        raise Damaged("tiles", f"the tiles of {size} entries give another root than the log has")


def _show(collected: Collected, signed: str, checkpoint: Checkpoint, signed_at: datetime) -> bool:
    """Keep the cosigned note as a row, the first time, and as the file everybody reads; False if it lacks witnesses.

    The file gets the newest cosignatures; the row keeps those with which it was shown first, so that what was proven
    under it stays byte for byte.
    """
    if not collected.may_be_shown:
        return False
    before = _record(collected.note, signed, checkpoint.size)
    reach("ledger.publish.recorded")
    shown = tiles.read_checkpoint()
    if shown != collected.note:
        is_renewed = shown is not None and shown.startswith(signed)
        path = tiles.folder() / tiles.CHECKPOINT
        files.replace(path, collected.note.encode())
        at = (clock.now() if is_renewed else signed_at).timestamp()  # a web server's cache goes by it
        os.utime(path, (at, at))
    reach("ledger.publish.shown")
    if before is not None:
        tiles.drop_superseded(before, checkpoint.size)
    return True


@unit_of_work()
def _record(cosigned: str, signed: str, size: int) -> int | None:
    """Store the note unless its size is stored, and return the size published before it if it was stored now."""
    recorded = CheckpointRow.objects.filter(size=size).first()
    if recorded is None:
        before = CheckpointRow.objects.order_by("-size").values_list("size", flat=True).first() or 0
        CheckpointRow.objects.create(size=size, note=cosigned)
        return before
    if not recorded.note.startswith(signed):
        raise Damaged(f"checkpoint {size}", "the row holds another note than the signer signed")
    return None
