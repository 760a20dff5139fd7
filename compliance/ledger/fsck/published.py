"""The published log as a whole: tiles above level 0, checkpoints, files nobody made, and the signer's memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compliance.ledger import anchors, replay, signer, tiles, witnesses
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck.checkpoints import check_lines, known_cosigners
from compliance.ledger.fsck.parts import PartResult
from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.fsck.tree import compare_tile, read
from compliance.ledger.models import Batch, LogState
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.signer import Signed
from compliance.proof import layout, merkle, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.log_keys import LogKeys

_HASH: Final = merkle.HASH_BYTES
_BLANK: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the signer remembers and what is published, at one moment between two publishings.

    `waits` says that the last checkpoint is signed but may not be shown: witnesses are missing, or one raised an alarm.
    """

    signed: Signed | None
    note: str | None
    waits: bool = False


def look(result: FsckResult) -> Shown:
    """Take both while no publisher is at work. Notes an unreadable memory."""
    with signer.exclusive(wait=True):
        try:
            signed, shown = signer.last_signed(), tiles.read_checkpoint()
            may_be_shown = signed is None or witnesses.collected(signed.note).may_be_shown
            return Shown(signed, shown, not may_be_shown or witnesses.alarm() is not None)
        except LedgerError as error:
            result.add("signer.unreadable", f"{signer.MEMORY} of the signer", str(error))
            return Shown(None, tiles.read_checkpoint())


class PublishedLog:
    """Joins the parts of the log in order: the tree above the level-0 tiles, and the checkpoints over it."""

    def __init__(self, result: FsckResult, shown: Shown, log_keys: LogKeys) -> None:
        self._result = result
        self._log_keys = log_keys
        self._shown = shown
        self._cosigners = known_cosigners()
        self.size = self._published_size(shown.note)
        self._blocks = merkle.RightEdge()  # its leaves are the roots of the full level-0 tiles
        self._levels: list[list[bytes]] = []
        self._partial: dict[tuple[int, int], set[int]] = {}
        self._batches = 0
        self._last_seen = -1
        self._end = 0, b""

    def join(self, part: PartResult) -> None:
        """Take what was found in the next part of the log."""
        self._result.absorb(part.result)
        self._batches += part.batch_files
        roots = iter(part.roots)
        for seen in part.seen:
            self._last_seen = seen.size
            self._note_partial_tiles(seen.size)
            while seen.root and self._blocks.size < seen.size // TILE_WIDTH:
                self._append(next(roots))
            if seen.root and self._edge(seen.size, seen.low_roots).root() != seen.root:
                self._result.add(
                    "checkpoint.root",
                    f"checkpoint {seen.size}",
                    "the signed root is not that of the entries: they were changed since",
                )
        for root in roots:
            self._append(root)
        self._end = part.size, part.low_roots

    def edge(self) -> merkle.RightEdge:
        """The right edge of the tree over all parts."""
        return self._edge(*self._end)

    def finish(self) -> None:
        """Compare what is left at the right edge, then look for files nobody made."""
        beyond = CheckpointRow.objects.filter(size__gt=self._last_seen).order_by("size")
        for size in beyond.values_list("size", flat=True):
            self._result.checkpoints += 1
            self._result.add("checkpoint.size", f"checkpoint {size}", "the log has fewer entries than that")
        for level, hashes in enumerate(self._levels, start=1):
            if hashes:
                index = layout.hashes_at_level(self.size, level) // TILE_WIDTH
                compare_tile(self._result, level, index, hashes)
        self._look_for_partial_tiles()
        self._look_for_other_files()
        self._compare_signer()

    def _edge(self, size: int, low_roots: bytes) -> merkle.RightEdge:
        high = self._blocks.to_bytes()[8:]
        return merkle.RightEdge.from_bytes(size.to_bytes(8, "big") + high + low_roots)

    def _append(self, root: bytes) -> None:
        """The root of the next full tile of level 0."""
        self._blocks.append(root)
        if self._blocks.size * TILE_WIDTH <= self.size:
            self._add(1, root)

    def _add(self, level: int, hash_: bytes) -> None:
        if level > len(self._levels):
            self._levels.append([])
        row = self._levels[level - 1]
        row.append(hash_)
        if len(row) == TILE_WIDTH:
            done = self._blocks.size >> (layout.TILE_HEIGHT * (level - 1))
            compare_tile(self._result, level, done // TILE_WIDTH - 1, row)
            self._levels[level - 1] = []
            self._add(level + 1, merkle.root(row))

    def _note_partial_tiles(self, size: int) -> None:
        """Those that must be there for a checkpoint of `size`."""
        for level, index, width in layout.partial_tiles_of(size) if size <= self.size else ():
            if layout.width_of(self.size, level, index) < TILE_WIDTH:
                self._partial.setdefault((level, index), set()).add(width)

    def _look_for_partial_tiles(self) -> None:
        """They must be there for every published size until the full tile is. Their bytes are compared further on."""
        for (level, index), widths in self._partial.items():
            paths = [layout.tile_path(level, index, width) for width in widths]
            paths += [layout.entries_path(index, width) for width in widths if level == 0]
            for path in paths:
                if not (tiles.folder() / path).exists():
                    self._result.add("tile.missing", path, "a checkpoint was published for this size of the tile")

    def _look_for_other_files(self) -> None:
        """Partial tiles of earlier sizes must be beginnings of what was compared; nothing else may be there."""
        batch_files = 0
        for path in _files_below(tiles.folder()):
            name = path.relative_to(tiles.folder()).as_posix()
            if name in (tiles.CHECKPOINT, anchors.ANCHORED, anchors.STAMP):
                continue
            if name.startswith(f"{tiles.BATCHES}/"):
                batch_files += 1
                continue
            try:
                level, index, width = layout.parse_tile_path(name)
            except ProofError:
                self._result.add("file.unexpected", name, "no such file belongs to the log")
                continue
            self._check_earlier_tile(name, level, index, width)
        if batch_files > self._batches:
            self._name_unexpected_batches()

    def _check_earlier_tile(self, name: str, level: int | None, index: int, width: int) -> None:
        whole = layout.width_of(self.size, level or 0, index)
        if width > whole:
            if width > layout.width_of(self._largest_size(), level or 0, index):
                self._result.add("file.unexpected", name, "the published log is not that long")
            return
        if width == whole:
            return
        longer = layout.entries_path(index, whole) if level is None else layout.tile_path(level, index, whole)
        mine, theirs = read(self._result, name), read(self._result, longer)
        if mine is not None and theirs is not None and (len(mine) > len(theirs) or not theirs.startswith(mine)):
            self._result.add("tile.hash", name, f"it is not the beginning of {longer}")
        elif mine is not None and level is not None and len(mine) != width * _HASH:
            self._result.add("tile.size", name, f"{len(mine)} bytes instead of {width * _HASH}")
        elif mine is not None and level is None and _bundle_length(mine) != width:
            self._result.add("entries.form", name, f"it does not hold {width} entries")

    def _name_unexpected_batches(self) -> None:
        known = {f"{row.hex()}.json" for row in Batch.objects.values_list("id", flat=True).iterator()}
        for path in _files_below(tiles.folder() / tiles.BATCHES):
            if path.name not in known:
                self._result.add("file.unexpected", f"{tiles.BATCHES}/{path.name}", "no such batch is in the log")

    def _compare_signer(self) -> None:
        """Memory, row and file hold one note: the last. A crash may leave them apart until the next publishing."""
        place = f"{signer.MEMORY} of the signer"
        latest = CheckpointRow.objects.order_by("-size").first()
        signed = self._shown.signed
        if signed is None:
            if latest is not None or self._shown.note is not None:
                self._result.add("signer.missing", place, "checkpoints were published, but the signer remembers none")
            return
        try:
            note.open_note(signed.note, self._log_keys.verifiers_at(signed.checkpoint.size))
        except ProofError as error:
            self._result.add(error.code, place, error.detail)
        mend = "if publishing was interrupted, mend it with: manage.py ledger publish"
        row = CheckpointRow.objects.filter(size=signed.checkpoint.size).first()
        waits = row is None and self._shown.waits
        expected = latest.note.partition("\n\n")[0] if waits and latest is not None else signed.note
        if not (self._shown.note or "").startswith(expected) and not (waits and latest is None):
            self._result.add("checkpoint.file", tiles.CHECKPOINT, f"it is not the note that was signed last; {mend}")
        self._check_shown_cosignatures()
        if not waits and (row is None or not row.note.startswith(signed.note)):
            self._result.add("checkpoint.row", f"checkpoint {signed.checkpoint.size}", f"not what was signed; {mend}")
        stored = CheckpointRow.objects.filter(size__lte=signed.checkpoint.size).count()
        if stored != signed.number - waits - replay.checkpoints_lost():
            detail = f"{signed.number} were signed up to this one, {stored} are stored: one before it is missing"
            self._result.add("checkpoint.missing", f"checkpoint {signed.checkpoint.size}", detail)
        if latest is not None and latest.size > signed.checkpoint.size and not self._went_on():
            self._result.add("signer.behind", place, f"a checkpoint over {latest.size} entries is stored")

    def _check_shown_cosignatures(self) -> None:
        """Those in the file may be newer than those in the row."""
        if self._shown.note is not None:
            try:
                check_lines(self._shown.note, [*self._log_keys.verifiers, *self._cosigners])
            except ProofError as error:
                self._result.add(error.code, tiles.CHECKPOINT, error.detail)

    def _went_on(self) -> bool:
        """A publisher may have signed more since we looked."""
        return self._shown != look(self._result)

    def _published_size(self, text: str | None) -> int:
        """Of the published note if it is a real one, else of the last that was stored: files are compared all the
        same.
        """
        size = _size_of(text)
        row = CheckpointRow.objects.filter(size=size).first()
        if row is not None and text is not None and text.startswith(f"{row.note.partition(_BLANK)[0]}{_BLANK}"):
            return size
        return CheckpointRow.objects.order_by("-size").values_list("size", flat=True).first() or 0

    def _largest_size(self) -> int:
        """A publisher writes tiles before it signs and may be interrupted then; and it goes on while we read."""
        integrated = LogState.objects.values_list("size", flat=True).get(id=1)
        with signer.exclusive(wait=True):
            return max(integrated, _size_of(tiles.read_checkpoint()))


def _size_of(text: str | None) -> int:
    try:
        return Checkpoint.from_text(note.split(text)[0]).size if text is not None else 0
    except ProofError:
        return 0


def _bundle_length(data: bytes) -> int:
    try:
        return len(layout.decode_entry_bundle(data))
    except ProofError:
        return -1


def _files_below(folder: Path) -> Iterator[Path]:
    """Files, but not the temporary ones a crash left behind; no reader of the log ever asks for those."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("."):
                yield Path(parent, name)
