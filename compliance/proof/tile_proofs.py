"""Inclusion and consistency proofs read from hash tiles: a few tiles a proof, whatever the size of the log.

A node of the tree at height h over leaf range k is inside the tile of level h // 8; nodes between two levels are hashed
from the tile's row. Source: https://c2sp.org/tlog-tiles and RFC 6962 section 2.1.
"""

from compliance.proof import layout, merkle
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_HEIGHT, TILE_WIDTH, ReadTile


def inclusion_path(read_tile: ReadTile, index: int, size: int) -> list[bytes]:
    """Path of leaf `index` to the root of the log at `size`."""
    if not 0 <= index < size:
        raise ProofError("proof.inclusion", f"leaf {index} cannot be in a tree of {size}")
    tiles = _Tiles(read_tile, size)
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        split = low + _split(high - low)
        if index < split:
            path.append(tiles.range_root(split, high))
            high = split
        else:
            path.append(tiles.range_root(low, split))
            low = split
    path.reverse()
    return path


def consistency_path(read_tile: ReadTile, first: int, second: int) -> list[bytes]:
    """Proof that the log at size `first` is the beginning of the log at size `second`."""
    if not 0 <= first <= second:
        raise ProofError("proof.consistency", f"a tree of {first} is no beginning of one of {second}")
    if first in (0, second):
        return []
    tiles = _Tiles(read_tile, second)
    path: list[bytes] = []
    low, high, whole = 0, second, True
    while first != high:
        split = low + _split(high - low)
        if first <= split:
            path.append(tiles.range_root(split, high))
            high = split
        else:
            path.append(tiles.range_root(low, split))
            low, whole = split, False
    if not whole:
        path.append(tiles.range_root(low, high))
    path.reverse()
    return path


def root(read_tile: ReadTile, size: int) -> bytes:
    """Root of the log at `size`, from its right edge."""
    return _Tiles(read_tile, size).range_root(0, size) if size else merkle.EMPTY_ROOT


class _Tiles:
    """The tiles of a log of one size, each read once a proof."""

    def __init__(self, read_tile: ReadTile, size: int) -> None:
        self._read_tile = read_tile
        self._size = size
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def range_root(self, low: int, high: int) -> bytes:
        """Root of the leaves [low, high), a range that RFC 6962's split gives: perfect subtrees, left to right."""
        roots: list[bytes] = []
        while low < high:
            height = min((high - low).bit_length() - 1, (low & -low).bit_length() - 1 if low else MAX_HEIGHT)
            roots.append(self._perfect(height, low >> height))
            low += 1 << height
        running = roots[-1]
        for left in reversed(roots[:-1]):
            running = merkle.node_hash(left, running)
        return running

    def _perfect(self, height: int, index: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        tile, offset = divmod(first, TILE_WIDTH)
        return merkle.root(self._row(level, tile)[offset : offset + (1 << inner)])

    def _row(self, level: int, index: int) -> list[bytes]:
        row = self._rows.get((level, index))
        if row is None:
            width = layout.width_of(self._size, level, index)
            data = self._read_tile(level, index, width)
            if len(data) != width * merkle.HASH_BYTES:
                place = layout.tile_path(level, index, width)
                raise ProofError("tile.size", f"{len(data)} bytes instead of {width} hashes", place=place)
            row = self._rows[level, index] = layout.split_tile(data)
        return row


MAX_HEIGHT = 63


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)
