"""The published log against the rows: hash tiles, entry bundles, batch files, checkpoints, and the signer's memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.ledger import signer, tiles, witnesses
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.models import Batch, LogState
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.signer import Signed
from compliance.proof import layout, merkle, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.log_keys import LogKeys

_HASH: Final = merkle.HASH_BYTES
_PAGE: Final = 500
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
    """Takes the leaves in order and compares each file as soon as its last leaf is there."""

    def __init__(self, result: FsckResult, shown: Shown, log_keys: LogKeys) -> None:
        self._result = result
        self._log_keys = log_keys
        self._shown = shown
        self._witnesses = witnesses.known_verifiers()
        self._size = self._published_size(shown.note)
        self._levels: list[list[bytes]] = []
        self._partial: dict[tuple[int, int], set[int]] = {}
        self._bodies: list[bytes] = []
        self._leaves = 0
        self._checkpoints = self._rows()
        self._next = next(self._checkpoints, None)
        self._batches = 0

    def batch(self, batch_id: bytes, _payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> None:
        """The row of the batch whose leaves come next."""
        if self._leaves >= self._size:
            return
        path = f"{tiles.BATCHES}/{batch_id.hex()}.json"
        self._batches += 1
        self._compare_file("batch.file", path, tiles.batch_file(envelope, event_hashes))

    def leaf(self, index: int, hash_: bytes, body: bytes) -> None:
        """The next leaf of the log."""
        if index >= self._size:
            return
        self._leaves = index + 1
        self._bodies.append(body)
        if len(self._bodies) == TILE_WIDTH:
            self._compare_bundle(index // TILE_WIDTH)
        self._add(0, hash_)

    def reached(self, edge: merkle.RightEdge) -> None:
        """The tree as it is after a batch: checkpoints are only ever over whole batches."""
        while self._next is not None and self._next.size <= edge.size:
            row, self._next = self._next, next(self._checkpoints, None)
            self._check_checkpoint(row, edge)

    def finish(self) -> None:
        """Compare what is left at the right edge, then look for files nobody made."""
        for row in [self._next, *self._checkpoints] if self._next else ():
            self._result.checkpoints += 1
            self._result.add("checkpoint.size", f"checkpoint {row.size}", "the log has fewer entries than that")
        for level, hashes in enumerate(self._levels):
            if hashes:
                self._compare_tile(level, layout.hashes_at_level(self._size, level) // TILE_WIDTH, hashes)
        if self._bodies:
            self._compare_bundle(self._size // TILE_WIDTH)
        self._look_for_partial_tiles()
        self._look_for_other_files()
        self._compare_signer()

    def _add(self, level: int, hash_: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        row.append(hash_)
        if len(row) == TILE_WIDTH:
            done = (self._leaves >> (layout.TILE_HEIGHT * level)) // TILE_WIDTH
            self._compare_tile(level, done - 1, row)
            self._levels[level] = []
            self._add(level + 1, merkle.root(row))

    def _compare_tile(self, level: int, index: int, hashes: list[bytes]) -> None:
        path = layout.tile_path(level, index, len(hashes))
        expected = b"".join(hashes)
        found = self._read(path)
        if found is None and (whole := self._read(layout.tile_path(level, index))) is not None:
            found = whole[: len(expected)]  # the log grew past this tile while we read
        if found is None:
            self._result.add("tile.missing", path, "the hash tile is missing")
        elif len(found) != len(expected):
            self._result.add("tile.size", path, f"{len(found)} bytes instead of {len(expected)}")
        elif found != expected:
            pairs = zip(layout.split_tile(found), hashes, strict=True)
            wrong = [position for position, (mine, theirs) in enumerate(pairs) if mine != theirs]
            leaf = (index * TILE_WIDTH + wrong[0]) << (layout.TILE_HEIGHT * level)
            detail = f"{len(wrong)} hashes are not those of the rows, the first is hash {wrong[0]} (leaf {leaf})"
            self._result.add("tile.hash", path, detail)

    def _compare_bundle(self, index: int) -> None:
        bodies, self._bodies = self._bodies, []
        path = layout.entries_path(index, len(bodies))
        expected = layout.encode_entry_bundle(bodies)
        found = self._read(path)
        if found is None and (whole := self._read(layout.entries_path(index))) is not None:
            found = whole[: len(expected)]
        if found is None:
            self._result.add("entries.missing", path, "the entry bundle is missing")
        elif found != expected:
            self._result.add("entries.wrong", path, self._first_difference(found, bodies, index))

    def _first_difference(self, found: bytes, bodies: list[bytes], index: int) -> str:
        try:
            entries = layout.decode_entry_bundle(found)
        except ProofError as error:
            return error.detail
        for position, (entry, body) in enumerate(zip(entries, bodies, strict=False)):
            if entry != body:
                return f"entry {position} is not that of the rows (leaf {index * TILE_WIDTH + position})"
        return f"{len(entries)} entries instead of {len(bodies)}"

    def _compare_file(self, code: str, path: str, expected: bytes) -> None:
        found = self._read(path)
        if found is None:
            self._result.add(f"{code}.missing", path, "the file is missing")
        elif found != expected:
            self._result.add(f"{code}.wrong", path, "the file is not what the rows give")

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
            if name == tiles.CHECKPOINT:
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
        whole = layout.width_of(self._size, level or 0, index)
        if width > whole:
            if width > layout.width_of(self._largest_size(), level or 0, index):
                self._result.add("file.unexpected", name, "the published log is not that long")
            return
        if width == whole:
            return
        longer = layout.entries_path(index, whole) if level is None else layout.tile_path(level, index, whole)
        mine, theirs = self._read(name), self._read(longer)
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

    def _check_checkpoint(self, row: CheckpointRow, edge: merkle.RightEdge) -> None:
        place = f"checkpoint {row.size}"
        self._result.checkpoints += 1
        for level in range(len(self._levels)):
            index, width = divmod(layout.hashes_at_level(row.size, level), TILE_WIDTH)
            if width and row.size <= self._size and layout.width_of(self._size, level, index) < TILE_WIDTH:
                self._partial.setdefault((level, index), set()).add(width)
        try:
            opened = note.open_note(row.note, self._log_keys.verifiers_at(row.size))
            checkpoint = Checkpoint.from_text(opened.text)
            self._check_cosignatures(row.note, checkpoint.origin)
        except ProofError as error:
            self._result.add(error.code, place, error.detail)
            return
        if checkpoint.origin != settings.METERPROOF["ORIGIN"]:
            self._result.add("checkpoint.origin", place, f"it is of the log {checkpoint.origin}")
        if checkpoint.size != row.size:
            self._result.add("checkpoint.size", place, f"the note is over {checkpoint.size} entries")
        elif edge.size != row.size:
            self._result.add("checkpoint.size", place, "no batch ends at this size")
        elif checkpoint.root != edge.root():
            self._result.add(
                "checkpoint.root", place, "the signed root is not that of the entries: they were changed since"
            )

    def _check_cosignatures(self, text: str, origin: str) -> None:
        """Each line that is not the log's is the cosignature of a witness that was asked. Raises ProofError."""
        named = {(verifier.name, verifier.id): verifier for verifier in self._witnesses}
        for name, id_, _ in note.split(text)[1]:
            if name == origin:
                continue
            if (name, id_) not in named:
                raise ProofError("note.unknown_key", f"a line of {name}, whom nobody asked")
            note.open_note(text, [named[name, id_]])

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
        if stored != signed.number - waits:
            detail = f"{signed.number} were signed up to this one, {stored} are stored: one before it is missing"
            self._result.add("checkpoint.missing", f"checkpoint {signed.checkpoint.size}", detail)
        if latest is not None and latest.size > signed.checkpoint.size and not self._went_on():
            self._result.add("signer.behind", place, f"a checkpoint over {latest.size} entries is stored")

    def _check_shown_cosignatures(self) -> None:
        """Those in the file may be newer than those in the row."""
        if self._shown.note is not None:
            try:
                self._check_cosignatures(self._shown.note, settings.METERPROOF["ORIGIN"])
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

    def _rows(self) -> Iterator[CheckpointRow]:
        last = -1
        while rows := list(CheckpointRow.objects.filter(size__gt=last).order_by("size")[:_PAGE]):
            yield from rows
            last = rows[-1].size

    def _read(self, path: str) -> bytes | None:
        try:
            data = (tiles.folder() / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        self._result.files += 1
        return data


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
