"""A log as files: the tlog-tiles prefix with entry bundles, and beside it optionally `batches/<batch id>.json`.

Every tile is read at every width that lies there, recomputed from the leaf hashes up, and compared byte for byte.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compliance.proof import batch, dsse, layout, merkle
from compliance.proof.canonical import require_canonical
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.note import MAX_NOTE_BYTES
from compliance.proof.shapes import is_hash
from compliance.proof.time_tokens import MAX_TOKEN_BYTES

CHECKPOINT: Final = "checkpoint"
ANCHORED: Final = "checkpoint.anchored"  # the newest note that a time stamp authority has seen
STAMP: Final = "checkpoint.tsr"  # and its response over exactly those bytes
BATCHES: Final = "batches"
MAX_BATCH_FILE_BYTES: Final = dsse.MAX_BATCH_ENVELOPE_BYTES + 70 * batch.MAX_COUNT  # one hash a line of the array
MAX_TILE_BYTES: Final = TILE_WIDTH * merkle.HASH_BYTES
MAX_ENTRY_BUNDLE_BYTES: Final = TILE_WIDTH * (2 + layout.MAX_ENTRY_BYTES)

_BATCH_FILE = re.compile(r"([0-9a-f]{64})\.json")


@dataclass(slots=True)
class BatchFile:
    """One `batches/<id>.json`: the envelope and the leaf hashes of all its events, also of the refused."""

    envelope: dsse.Envelope
    payload: dict[str, Any]
    event_hashes: tuple[bytes, ...]


@dataclass(slots=True)
class LogFolder:
    """A log folder. Reads files when asked; keeps leaf hashes."""

    path: Path
    files_read: int = 0
    beyond: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    def read_checkpoint(self) -> str:
        """The signed note. Raises NotCheckable if there is none."""
        data = self._read(CHECKPOINT, MAX_NOTE_BYTES)
        if data is None:
            raise NotCheckable("file.missing", "a log folder has a file named checkpoint", place=CHECKPOINT)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise ProofError("note.form", "not UTF-8", place=CHECKPOINT) from None

    def read_time_stamp(self) -> tuple[bytes | None, bytes | None]:
        """The newest note that was stamped, and the RFC 3161 response over it; None for what is not there."""
        return self._read(ANCHORED, MAX_NOTE_BYTES), self._read(STAMP, MAX_TOKEN_BYTES)

    def read_leaf_hashes(self, checkpoint: Checkpoint) -> list[bytes]:
        """Check every hash tile of every level against the leaves below and the root.

        Raises `tile.missing`, `tile.size`, `tile.hash`, `tile.root`. Returns the leaf hashes.
        """
        leaves: list[bytes] = []
        rows: list[bytes] = []
        for level, index, width in layout.tiles_of(checkpoint.size):
            tile = self._read_tile(level, index, width)
            if level == 0:
                leaves += layout.split_tile(tile)
                continue
            if index == 0:
                rows = _level_above(leaves if level == 1 else rows)
            expected = b"".join(rows[index * TILE_WIDTH : index * TILE_WIDTH + width])
            if tile != expected:
                place = layout.tile_path(level, index, width)
                raise ProofError("tile.hash", "not the roots of the tiles below", place=place)
        if merkle.root(leaves) != checkpoint.root:
            place = self._tile_unlike_its_entries(checkpoint.size, leaves) or "tile/0"
            raise ProofError("tile.root", "the leaf hashes do not give the root of the checkpoint", place=place)
        self._check_other_tiles(checkpoint.size, leaves)
        return leaves

    def read_entries(self, leaves: list[bytes]) -> Iterator[tuple[int, bytes | None]]:
        """(leaf, entry bytes or None if redacted), each hashed and compared. Raises `entries.form`, `entry.hash`."""
        for index in range(-(-len(leaves) // TILE_WIDTH)):
            width = layout.width_of(len(leaves), 0, index)
            entries = self._read_entry_bundle(index, width)
            for leaf, data in enumerate(entries, start=index * TILE_WIDTH):
                if data and merkle.leaf_hash(data) != leaves[leaf]:
                    place = f"leaf {leaf} in {layout.entries_path(index, width)}"
                    raise ProofError("entry.hash", "the bytes are not the leaf of the tree", place=place)
                yield leaf, data or None

    def has_batches(self) -> bool:
        """Whether the folder has batches at all; without them authors cannot be checked."""
        return (self.path / BATCHES).is_dir()

    def read_batches(self) -> dict[str, BatchFile]:
        """Every batch file, by batch id, its root recomputed from the hashes."""
        found: dict[str, BatchFile] = {}
        for file in sorted((self.path / BATCHES).iterdir()):
            match = _BATCH_FILE.fullmatch(file.name)
            if match is not None:
                found[match.group(1)] = self._read_batch(file.name, match.group(1))
        return found

    def _read_tile(self, level: int, index: int, width: int) -> bytes:
        path = layout.tile_path(level, index, width)
        data = self._read(path, MAX_TILE_BYTES)
        if data is None and width < TILE_WIDTH:
            full = self._read(layout.tile_path(level, index), MAX_TILE_BYTES)
            if full is not None and len(full) == MAX_TILE_BYTES:
                return full[: width * merkle.HASH_BYTES]  # the log has grown; a partial tile may go then
        if data is None:
            raise ProofError("tile.missing", "this tile belongs to the tree of the checkpoint", place=path)
        if len(data) != width * merkle.HASH_BYTES:
            raise ProofError("tile.size", f"{len(data)} bytes instead of {width} hashes", place=path)
        return data

    def _read_entry_bundle(self, index: int, width: int) -> list[bytes]:
        path = layout.entries_path(index, width)
        data = self._read(path, MAX_ENTRY_BUNDLE_BYTES)
        if data is None and width < TILE_WIDTH:
            full = self._read(layout.entries_path(index), MAX_ENTRY_BUNDLE_BYTES)
            if full is not None:
                return _decode(full, layout.entries_path(index), TILE_WIDTH)[:width]
        if data is None:
            raise ProofError("tile.missing", "this entry bundle belongs to the tree of the checkpoint", place=path)
        return _decode(data, path, width)

    def _tile_unlike_its_entries(self, size: int, leaves: list[bytes]) -> str | None:
        """The first tile that is not the hashes of its entry bundle, when only the root says that one is wrong."""
        for level, index, width in layout.tiles_of(size):
            try:
                entries = self._read_entry_bundle(index, width) if level == 0 else []
            except ProofError:
                continue
            if any(item and merkle.leaf_hash(item) != leaves[index * TILE_WIDTH + n] for n, item in enumerate(entries)):
                return layout.tile_path(level, index, width)
        return None

    def _check_other_tiles(self, size: int, leaves: list[bytes]) -> None:
        """Tiles of earlier sizes, which stay for who holds an old checkpoint, must be beginnings of today's."""
        needed = {layout.tile_path(*tile) for tile in layout.tiles_of(size)}
        needed |= {layout.entries_path(index, width) for level, index, width in layout.tiles_of(size) if level == 0}
        rows = {0: leaves}
        for file in sorted((self.path / "tile").rglob("*")) if leaves else ():
            if not file.is_file():
                continue
            path = file.relative_to(self.path).as_posix()
            if path in needed:
                continue
            try:
                level, index, width = layout.parse_tile_path(path)
            except ProofError:
                self.strange.append(path)
                continue
            if index * TILE_WIDTH + width > layout.hashes_at_level(size, level or 0):
                self.beyond.append(path)
            elif level is None:
                self._check_old_entries(path, index, width, leaves)
            else:
                while level not in rows:
                    rows[max(rows) + 1] = _level_above(rows[max(rows)])
                expected = rows[level][index * TILE_WIDTH : index * TILE_WIDTH + width]
                if self._read(path, MAX_TILE_BYTES) != b"".join(expected):
                    raise ProofError("tile.hash", "not the beginning of today's tile", place=path)

    def _check_old_entries(self, path: str, index: int, width: int, leaves: list[bytes]) -> None:
        data = self._read(path, MAX_ENTRY_BUNDLE_BYTES) or b""
        for leaf, item in enumerate(_decode(data, path, width), start=index * TILE_WIDTH):
            if item and merkle.leaf_hash(item) != leaves[leaf]:
                raise ProofError("entry.hash", "the bytes are not the leaf of the tree", place=f"leaf {leaf} in {path}")

    def _read_batch(self, name: str, batch_id: str) -> BatchFile:
        place = f"{BATCHES}/{name}"
        data = self._read(place, MAX_BATCH_FILE_BYTES) or b""
        value = require_canonical(data, max_bytes=MAX_BATCH_FILE_BYTES, extra_names=dsse.EXTRA_NAMES, place=place)
        if type(value) is not dict or value.keys() != {"envelope", "event_hashes"}:
            raise ProofError("batch.form", "a batch file has envelope and event_hashes", place=place)
        if type(value["envelope"]) is not dict:
            raise ProofError("envelope.form", "an envelope is a JSON object", place=place)
        envelope = dsse.read_envelope(value["envelope"], payload_type=dsse.BATCH_TYPE, place=place)
        if envelope.id != batch_id:
            raise ProofError("batch.id", f"the id of this batch is {envelope.id}", place=place)
        payload = batch.read_payload(envelope, place=place)
        items = value["event_hashes"]
        if type(items) is not list or not all(is_hash(item) for item in items):
            raise ProofError("batch.form", "event_hashes is a list of hashes", place=place)
        if len(items) != payload["count"]:
            raise ProofError("batch.count", f"{len(items)} hashes, {payload['count']} were signed", place=place)
        hashes = tuple(bytes.fromhex(str(item)) for item in items)
        if merkle.root(hashes).hex() != payload["root"]:
            raise ProofError("batch.root", "the event hashes do not give the signed root", place=place)
        return BatchFile(envelope, payload, hashes)

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise NotCheckable("file.missing", error.strerror or "cannot be read", place=name) from None
        self.files_read += 1
        if len(data) > limit:
            raise ProofError("json.size", f"over {limit} bytes", place=name)
        return data


def _level_above(row: list[bytes]) -> list[bytes]:
    full = len(row) // TILE_WIDTH
    return [merkle.root(row[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]) for tile in range(full)]


def _decode(data: bytes, path: str, width: int) -> list[bytes]:
    try:
        entries = layout.decode_entry_bundle(data)
    except ProofError as error:
        raise error.within(path) from None
    if len(entries) != width:
        raise ProofError("entries.form", f"{len(entries)} entries instead of {width}", place=path)
    return entries
