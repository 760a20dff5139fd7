"""The tree as a monitor has seen it: size, and the partial tile at the right edge of each level. It grows by leaves.

That is all that is needed to check every tile that comes later, byte for byte, and the root: 8 KiB a level at most.
Source: https://c2sp.org/tlog-tiles.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from compliance.proof import layout, merkle, tile_proofs
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH, ReadTile

PIECE: Final = TILE_WIDTH * TILE_WIDTH  # leaves in memory at a time; ends with full tiles on the two lowest levels

OnTile = Callable[[int, list[bytes]], None]
"""Called with the index and the hashes of each tile of level 0."""


@dataclass(slots=True)
class Tree:
    """A tree of `size` leaves. `rows` holds the bytes of the tile that is not full, by level."""

    size: int = 0
    rows: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> "Tree":
        """Another one like it."""
        return Tree(self.size, dict(self.rows))

    def root(self) -> bytes:
        """Its root: the partial tiles hold all that is left of the leaves."""
        return tile_proofs.root(self._row, self.size)

    def root_at(self, size: int) -> bytes | None:
        """Its root when it had `size` leaves, None if the tiles kept do not reach back that far."""
        for level, index, width in layout.partial_tiles_of(size):
            is_same_tile = index == layout.hashes_at_level(self.size, level) // TILE_WIDTH
            if not is_same_tile or len(self.rows.get(level, b"")) < width * merkle.HASH_BYTES:
                return None
        return tile_proofs.root(self._row, size) if size <= self.size else None

    def require_sound(self) -> None:
        """Raise ProofError `tile.size` unless the rows are those of a tree of this size."""
        wanted = {level: width * merkle.HASH_BYTES for level, _, width in layout.partial_tiles_of(self.size)}
        if {level: len(row) for level, row in self.rows.items()} != wanted:
            raise ProofError("tile.size", f"these are not the partial tiles of {self.size} leaves")

    def extend(self, leaves: Sequence[bytes]) -> Iterator[tuple[int, int, int, bytes]]:
        """Add leaf hashes, and give each tile that gets longer, (level, index, width, bytes). To be exhausted."""
        tiles = layout.new_tiles(read_tile=self._row, old_size=self.size, leaf_hashes=leaves)
        for level, index, width, data in tiles:
            if width < TILE_WIDTH:
                self.rows[level] = data
            else:
                self.rows.pop(level, None)
            yield level, index, width, data
        self.size += len(leaves)

    def _row(self, level: int, _index: int, width: int) -> bytes:
        return self.rows.get(level, b"")[: width * merkle.HASH_BYTES]


@dataclass(slots=True)
class Walk:
    """Takes a tree to the size `target` with the tiles that `read` gives, and compares all of them."""

    target: int
    read: ReadTile
    on_tile: OnTile | None = None
    probe_at: int = 0
    probed: bytes = b""
    tiles: int = 0

    def run(self, tree: Tree) -> None:
        """Raises `tile.*` at the first tile that is not what the leaves give. `probed` is then the root at
        `probe_at`, if the walk came past it.
        """
        while tree.size < self.target:
            start = tree.size
            stop = min(self.target, (start // PIECE + 1) * PIECE)
            leaves = self._leaves(tree, stop)
            if start < self.probe_at <= stop:
                probe = tree.copy()
                for _ in probe.extend(leaves[: self.probe_at - start]):
                    continue
                self.probed = probe.root()
            for level, index, width, data in tree.extend(leaves):
                # A tile that is still partial here and longer in the target comes again with a later piece.
                if level > 0 and width == layout.width_of(self.target, level, index):
                    self._compare(level, index, width, data)

    def _leaves(self, tree: Tree, stop: int) -> list[bytes]:
        leaves: list[bytes] = []
        for index in range(tree.size // TILE_WIDTH, -(-stop // TILE_WIDTH)):
            width = layout.width_of(self.target, 0, index)
            tile = self.read(0, index, width)
            self.tiles += 1
            before = tree.rows.get(0, b"") if index == tree.size // TILE_WIDTH else b""
            if not tile.startswith(before):
                place = layout.tile_path(0, index, width)
                raise ProofError("tile.hash", "it does not begin with the hashes that were there before", place=place)
            hashes = layout.split_tile(tile)
            if self.on_tile is not None:
                self.on_tile(index, hashes)
            leaves += hashes[len(before) // merkle.HASH_BYTES :]
        return leaves

    def _compare(self, level: int, index: int, width: int, data: bytes) -> None:
        self.tiles += 1
        if self.read(level, index, width) != data:
            place = layout.tile_path(level, index, width)
            raise ProofError("tile.hash", "not the roots of the tiles below", place=place)
