"""Time stamps against what they stamp: each token over its note, each note over the tree of its size."""

from collections.abc import Iterator
from typing import Final

from compliance.ledger import anchors, tiles
from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.models import Anchoring, TimeToken
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.time_tokens import verify_token

_PAGE: Final = 200


def compare(result: FsckResult, log_keys: LogKeys) -> None:
    """Check every token again, and that none is missing."""
    roots = anchors.roots()
    number = size = 0
    for row in _rows():
        place = f"time_token {row.number}"
        result.bytes += len(row.token)
        if row.number != number + 1:
            result.add("time_token.missing", place, f"the one before it has the number {number}")
        if row.size < size:
            result.add("time_token.order", place, f"it is over {row.size} entries, the one before it over {size}")
        elif row.size > size:
            _require_each_stamped(result, size, row.size)
        number, size = row.number, row.size
        try:
            stated = Checkpoint.from_text(note.open_note(row.note, log_keys.verifiers_at(row.size)).text)
            verify_token(row.token, row.note.encode(), roots=roots, place=place)
        except ProofError as error:
            result.add(error.code, place, error.detail)
            continue
        published = CheckpointRow.objects.filter(size=row.size).first()
        if stated.size != row.size or published is None or not published.note.startswith(f"{stated.to_text()}\n"):
            result.add("time_token.checkpoint", place, f"it is not over the checkpoint of {row.size} entries")
    counted = Anchoring.objects.filter(id=1).values_list("tokens", flat=True).first() or 0
    if counted != number:
        result.add("time_token.missing", f"time_token {counted}", f"{counted} were stored, the last here is {number}")
    _compare_files(result)


def _require_each_stamped(result: FsckResult, after: int, before: int) -> None:
    """Checkpoints are stamped in the order of the log: none between two tokens was left out."""
    left_out = CheckpointRow.objects.filter(size__gt=after, size__lt=before).order_by("size")
    for size in left_out.values_list("size", flat=True)[:_PAGE]:
        result.add("time_token.none", f"checkpoint {size}", "it has no time stamp, though later ones have")


def _compare_files(result: FsckResult) -> None:
    """What outsiders read beside the checkpoint is the newest pair, or the one before while a new one is written."""
    newest = list(TimeToken.objects.order_by("-number")[:2])
    right = {anchors.ANCHORED: [row.note.encode() for row in newest], anchors.STAMP: [row.token for row in newest]}
    for name, expected in right.items():
        path = tiles.folder() / name
        shown = path.read_bytes() if path.exists() else None
        if shown is None and newest:
            result.add("time_token.file", name, "it is missing; the next tick of the worker writes it")
        elif shown is not None and shown not in expected:
            result.add("time_token.file", name, "it is not the newest token, or not the note under it")


def _rows() -> Iterator[TimeToken]:
    last = 0
    while rows := list(TimeToken.objects.filter(number__gt=last).order_by("number")[:_PAGE]):
        yield from rows
        last = rows[-1].number
