"""The log folder: a C2SP tlog-tiles prefix with entry bundles, and beside it `batches/<id>.json` for who checks
authors.

Every file is derived from committed rows and can be derived again; rows are the journal. A path never gets other
bytes: a file that is there and differs is damage, and stops the publisher.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.jobs.failpoints import reach
from compliance.ledger import files, rows
from compliance.ledger.errors import Damaged
from compliance.ledger.models import Batch, LeafRange
from compliance.ledger.rows import Leaf
from compliance.proof import layout, merkle, tile_proofs
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH

CHECKPOINT: Final = "checkpoint"
BATCHES: Final = "batches"
PIECE: Final = (
    64 * TILE_WIDTH
)  # leaves in memory at a time; a multiple of the width, so that pieces end with full tiles


def folder() -> Path:
    """Where the log is published."""
    path: Path = settings.METERPROOF["LOG_DIR"]
    return path


def read_tile(level: int, index: int, width: int) -> bytes:
    """A hash tile of the published log, cut out of the full tile when only that is left. Raises Damaged."""
    path = folder() / layout.tile_path(level, index, width)
    for candidate in (path, folder() / layout.tile_path(level, index)):
        try:
            data = candidate.read_bytes()
        except FileNotFoundError:
            continue
        return data[: width * merkle.HASH_BYTES]
    raise Damaged(str(path), "the tile is missing; derive it again with: manage.py ledger publish --rebuild")


def read_entry_bundle(index: int, width: int) -> bytes:
    """An entry bundle of the published log, cut out of the full one when only that is left. Raises Damaged."""
    path = folder() / layout.entries_path(index, width)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        whole = folder() / layout.entries_path(index)
    try:
        return layout.encode_entry_bundle(layout.decode_entry_bundle(whole.read_bytes())[:width])
    except (FileNotFoundError, ProofError):
        raise Damaged(
            str(path), "the entry bundle is missing; derive it again with: manage.py ledger publish --rebuild"
        ) from None


def read_checkpoint() -> str | None:
    """The note that is published, None if there is none."""
    try:
        return (folder() / CHECKPOINT).read_text()
    except FileNotFoundError:
        return None


def root(size: int) -> bytes:
    """Root of the log at `size` as the tiles have it. Raises Damaged."""
    try:
        return tile_proofs.root(read_tile, size)
    except ProofError as error:
        raise Damaged(error.place or "tiles", error.detail) from error


def extend(old_size: int, new_size: int) -> None:
    """Write every tile, entry bundle and batch that the log of `new_size` has and that of `old_size` had not.

    The right edge of level 0 is made from rows, that of the levels above from the tiles of `old_size`.
    """
    touched: set[Path] = set()
    for first, piece in _pieces(old_size - old_size % TILE_WIDTH, new_size):
        _write_hash_tiles(first, piece, touched)
        reach("ledger.tiles.hashes")
        _write_entry_bundles(first, piece, touched)
        reach("ledger.tiles.entries")
    _write_batches(old_size, new_size, touched)
    reach("ledger.tiles.batches")
    for path in sorted(touched):
        files.sync_folder(path)


def keep_partial_tiles(sizes: Sequence[int], size: int) -> None:
    """Write the partial tiles of the published `sizes` whose tiles are still partial at `size`: beginnings of those."""
    touched: set[Path] = set()
    for published in sizes:
        for level, index, width in layout.partial_tiles_of(published):
            whole = layout.width_of(size, level, index)
            if width < whole < TILE_WIDTH:
                _write(layout.tile_path(level, index, width), read_tile(level, index, whole)[: width * 32], touched)
                if level == 0:
                    bundle = layout.decode_entry_bundle((folder() / layout.entries_path(index, whole)).read_bytes())
                    _write(layout.entries_path(index, width), layout.encode_entry_bundle(bundle[:width]), touched)
    for path in sorted(touched):
        files.sync_folder(path)


def drop_superseded(old_size: int, new_size: int) -> None:
    """Remove the partial tiles whose full tile is there now, as C2SP allows. They would pile up with every
    checkpoint.
    """
    for level, index, width in layout.tiles_for(old_size, new_size):
        if width == TILE_WIDTH:
            shutil.rmtree(folder() / f"{layout.tile_path(level, index)}.p", ignore_errors=True)
            if level == 0:
                shutil.rmtree(folder() / f"{layout.entries_path(index)}.p", ignore_errors=True)


def redact(leaf: int) -> None:
    """Let an entry be empty in every entry bundle that holds it. The one case in which such a file changes."""
    index, at = divmod(leaf, TILE_WIDTH)
    whole = folder() / layout.entries_path(index)
    for path in (whole, *sorted(whole.with_name(f"{whole.name}.p").glob("*"))):
        if not path.is_file() or path.name.startswith("."):
            continue
        bodies = layout.decode_entry_bundle(path.read_bytes())
        if at < len(bodies) and bodies[at]:
            bodies[at] = b""
            files.replace(path, layout.encode_entry_bundle(bodies))


def batch_file(envelope: bytes, event_hashes: bytes) -> bytes:
    """Canonical `{envelope,event_hashes}` around the stored envelope."""
    listed = event_hashes.hex(",", -merkle.HASH_BYTES).replace(",", '","')
    return b'{"envelope":%b,"event_hashes":["%b"]}' % (envelope, listed.encode())


def _pieces(first: int, last: int) -> Iterator[tuple[int, list[Leaf]]]:
    piece: list[Leaf] = []
    start = first
    for leaf in rows.leaves(first, last):
        if leaf.leaf != start + len(piece):
            raise Damaged(f"leaf {start + len(piece)}", "there is no entry at this place of the log")
        piece.append(leaf)
        if len(piece) == PIECE:
            yield start, piece
            start, piece = start + PIECE, []
    if piece:
        yield start, piece
    if start + len(piece) != last:
        raise Damaged(f"leaf {start + len(piece)}", "there is no entry at this place of the log")


def _write_hash_tiles(first: int, piece: Sequence[Leaf], touched: set[Path]) -> None:
    hashes = [leaf.hash for leaf in piece]
    for level, index, width, data in layout.new_tiles(read_tile=read_tile, old_size=first, leaf_hashes=hashes):
        _write(layout.tile_path(level, index, width), data, touched)


def _write_entry_bundles(first: int, piece: Sequence[Leaf], touched: set[Path]) -> None:
    for offset in range(0, len(piece), TILE_WIDTH):
        bodies = [leaf.body for leaf in piece[offset : offset + TILE_WIDTH]]
        path = layout.entries_path((first + offset) // TILE_WIDTH, len(bodies))
        _write(path, layout.encode_entry_bundle(bodies), touched)


def _write_batches(old_size: int, new_size: int, touched: set[Path]) -> None:
    ids = LeafRange.objects.filter(first_index__gte=old_size, first_index__lt=new_size).values_list("batch", flat=True)
    # Read whole, 32 bytes each: an open cursor of the server would outlive a connection that is lost meanwhile (F21).
    for batch_id in list(ids.order_by("first_index")):
        batch = Batch.objects.get(id=batch_id)
        _write(f"{BATCHES}/{batch_id.hex()}.json", batch_file(batch.envelope, batch.event_hashes), touched)


def _write(path: str, data: bytes, touched: set[Path]) -> None:
    target = folder() / path
    if files.write_once(target, data):
        for parent in target.relative_to(folder()).parents:  # a new folder is a name in the one above
            touched.add(folder() / parent)
