"""Paths and files of C2SP tiled logs (https://c2sp.org/tlog-tiles): where a tile lies, how wide it is, what is in it.

Pure functions; who stores tiles, and where, is not known here.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from compliance.proof import merkle
from compliance.proof.errors import ProofError

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
MAX_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 65_535  # the length of an entry in a bundle is a uint16

ReadTile = Callable[[int, int, int], bytes]
"""(level, index, width) -> the bytes of that tile."""

_PATH = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a hash tile below the log's prefix."""
    return f"tile/{level}/{_grouped(index)}{_suffix(width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of an entry bundle below the log's prefix."""
    return f"tile/entries/{_grouped(index)}{_suffix(width)}"


def parse_tile_path(path: str) -> tuple[int | None, int, int]:
    """(level or None for an entry bundle, index, width) of `path`. Raises ProofError `tile.missing`."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ProofError("tile.missing", f"{path[:80]!r} is no path of a tile")
    level = None if match.group(1) == "entries" else int(match.group(1))
    index = int(match.group(2).replace("/", "").replace("x", ""))
    width = int(match.group(3) or TILE_WIDTH)
    again = entries_path(index, width) if level is None else tile_path(level, index, width)
    if again != path:
        raise ProofError("tile.missing", f"{path[:80]!r} is not the path {again}")
    return level, index, width


def hashes_at_level(size: int, level: int) -> int:
    """How many hashes level `level` of the tiles holds for a log of `size` entries."""
    return size >> (TILE_HEIGHT * level)


def width_of(size: int, level: int, index: int) -> int:
    """Width of tile `index` of `level` in a log of `size` entries; 0 if there is none."""
    return max(0, min(TILE_WIDTH, hashes_at_level(size, level) - index * TILE_WIDTH))


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Every (level, index, width) that a log of `size` entries has."""
    return tiles_for(0, size)


def tiles_for(old_size: int, new_size: int) -> Iterator[tuple[int, int, int]]:
    """Every (level, index, width) to write when the log grows from `old_size` to `new_size`, lowest level first."""
    level = 0
    while (new := hashes_at_level(new_size, level)) > 0:
        old = hashes_at_level(old_size, level)
        if new > old:
            for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
                yield level, index, width_of(new_size, level, index)
        level += 1


def partial_tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """The (level, index, width) of each tile that is not full in a log of `size` entries: at most one a level."""
    level = 0
    while (count := hashes_at_level(size, level)) > 0:
        if width := count % TILE_WIDTH:
            yield level, count // TILE_WIDTH, width
        level += 1


def new_tiles(
    *, read_tile: ReadTile, old_size: int, leaf_hashes: Sequence[bytes]
) -> Iterator[tuple[int, int, int, bytes]]:
    """Every tile to write, (level, index, width, bytes), when `leaf_hashes` are added to a log of `old_size` entries.

    `read_tile` is asked only for the partial tiles at the right edge of the old log.
    """
    added: Sequence[bytes] = leaf_hashes
    size = old_size
    level = 0
    while added:
        first = size // TILE_WIDTH
        kept = size % TILE_WIDTH
        old = read_tile(level, first, kept) if kept else b""
        if len(old) != kept * merkle.HASH_BYTES:
            raise ProofError("tile.size", f"{tile_path(level, first, kept)} holds {len(old)} bytes")
        data = old + b"".join(added)
        above: list[bytes] = []
        for offset in range(0, len(data), TILE_WIDTH * merkle.HASH_BYTES):
            tile = data[offset : offset + TILE_WIDTH * merkle.HASH_BYTES]
            width = len(tile) // merkle.HASH_BYTES
            yield level, first + offset // (TILE_WIDTH * merkle.HASH_BYTES), width, tile
            if width == TILE_WIDTH:
                above.append(merkle.root(split_tile(tile)))
        added = above
        size //= TILE_WIDTH
        level += 1


def split_tile(tile: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [tile[at : at + merkle.HASH_BYTES] for at in range(0, len(tile), merkle.HASH_BYTES)]


def encode_entry_bundle(entries: Sequence[bytes]) -> bytes:
    """The file of an entry bundle: each entry with its length in two bytes before it."""
    longest = max(map(len, entries), default=0)
    if longest > MAX_ENTRY_BYTES:
        raise ProofError("entries.form", f"an entry of {longest} bytes, at most {MAX_ENTRY_BYTES} fit")
    lengths = struct.pack(f">{len(entries)}H", *map(len, entries))
    parts = [b""] * (2 * len(entries))
    parts[0::2] = [lengths[at : at + 2] for at in range(0, len(lengths), 2)]
    parts[1::2] = entries
    return b"".join(parts)


def decode_entry_bundle(data: bytes) -> list[bytes]:
    """The entries in an entry bundle; a redacted one is empty. Raises ProofError `entries.form`."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise ProofError("entries.form", f"entry {len(entries)} of the bundle ends after the file")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def _grouped(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while (index := index // 1000) > 0:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def _suffix(width: int) -> str:
    if not 1 <= width <= TILE_WIDTH:
        raise ProofError("tile.size", f"a tile is 1 to {TILE_WIDTH} hashes wide, not {width}")
    return "" if width == TILE_WIDTH else f".p/{width}"
