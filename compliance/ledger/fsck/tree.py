"""The tree as it grows over the entries of a part of the log: hash tiles of level 0 and entry bundles beside them.

Leaves are hashed together tile by tile, so each node is made once. What lies above the level-0 tiles is joined in
`published`, from the roots that are collected here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from compliance.ledger import tiles
from compliance.ledger.fsck.problems import FsckResult
from compliance.proof import layout, merkle
from compliance.proof.errors import ProofError
from compliance.proof.layout import TILE_WIDTH

_HASH: Final = merkle.HASH_BYTES
_WHOLE_BUNDLES: Final = 65_535  # bytes an entry of a bundle can have


@dataclass(slots=True)
class Edge:
    """Where a tree ends: its size, and the leaves since its last full tile."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def digest(self) -> str:
        """Stands for all of it, so that two processes can tell whether one goes on where the other ended."""
        running = hashlib.sha256(self.size.to_bytes(8, "big"))
        for hash_, body in zip(self.hashes, self.bodies, strict=True):
            running.update(hash_ + hashlib.sha256(body).digest())
        return running.hexdigest()


class LeafTiles:
    """Takes the leaves in order, from `edge` on, and compares each file below `published` as soon as it is full."""

    def __init__(self, result: FsckResult, edge: Edge, published: int) -> None:
        self._result = result
        self._edge = edge
        self._published = published
        self.roots: list[bytes] = []

    @property
    def size(self) -> int:
        """Leaves so far, counted from the beginning of the log."""
        return self._edge.size

    @property
    def edge(self) -> Edge:
        """Where the tree ends now."""
        return self._edge

    def extend(self, hashes: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Add leaves."""
        edge = self._edge
        block = (edge.size - len(edge.hashes)) // TILE_WIDTH
        edge.hashes += hashes
        edge.bodies += bodies
        edge.size += len(hashes)
        full = len(edge.hashes) - len(edge.hashes) % TILE_WIDTH
        for at in range(0, full, TILE_WIDTH):
            tile = edge.hashes[at : at + TILE_WIDTH]
            self._compare(block, tile, edge.bodies[at : at + TILE_WIDTH])
            self.roots.append(merkle.root(tile))
            block += 1
        if full:
            del edge.hashes[:full], edge.bodies[:full]

    def finish(self) -> None:
        """Compare the partial tile at the end of the log."""
        if self._edge.hashes:
            self._compare(self._edge.size // TILE_WIDTH, self._edge.hashes, self._edge.bodies)

    def low_roots(self) -> bytes:
        """Roots of the perfect subtrees since the last full tile, from left to right."""
        edge = merkle.RightEdge()
        edge.extend(self._edge.hashes)
        return edge.to_bytes()[8:]

    def _compare(self, block: int, hashes: list[bytes], bodies: list[bytes]) -> None:
        """The published files over these leaves, as far as they were published."""
        width = min(self._published - block * TILE_WIDTH, len(hashes))
        if width > 0:
            compare_bundle(self._result, block, bodies[:width])
            compare_tile(self._result, 0, block, hashes[:width])


def compare_tile(result: FsckResult, level: int, index: int, hashes: list[bytes]) -> None:
    """Note it if the published hash tile is not what `hashes` give."""
    path = layout.tile_path(level, index, len(hashes))
    expected = b"".join(hashes)
    found = read(result, path)
    if found is None and (whole := read(result, layout.tile_path(level, index))) is not None:
        found = whole[: len(expected)]  # the log grew past this tile while we read
    if found is None:
        result.add("tile.missing", path, "the hash tile is missing")
    elif len(found) != len(expected):
        result.add("tile.size", path, f"{len(found)} bytes instead of {len(expected)}")
    elif found != expected:
        pairs = zip(layout.split_tile(found), hashes, strict=True)
        wrong = [position for position, (mine, theirs) in enumerate(pairs) if mine != theirs]
        leaf = (index * TILE_WIDTH + wrong[0]) << (layout.TILE_HEIGHT * level)
        detail = f"{len(wrong)} hashes are not those of the rows, the first is hash {wrong[0]} (leaf {leaf})"
        result.add("tile.hash", path, detail)


def compare_bundle(result: FsckResult, index: int, bodies: list[bytes]) -> None:
    """Note it if the published entry bundle does not hold `bodies`."""
    path = layout.entries_path(index, len(bodies))
    found = read(result, path)
    if found is None:
        whole = read(result, layout.entries_path(index))
        found = None if whole is None else whole[: sum(map(len, bodies)) + 2 * len(bodies)]
    if found is None:
        result.add("entries.missing", path, "the entry bundle is missing")
    elif max(map(len, bodies)) > _WHOLE_BUNDLES or found != layout.encode_entry_bundle(bodies):
        result.add("entries.wrong", path, _first_difference(found, bodies, index))


def read(result: FsckResult, path: str) -> bytes | None:
    """A file of the published log, None if it is not there."""
    try:
        data = (tiles.folder() / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    result.files += 1
    return data


def _first_difference(found: bytes, bodies: list[bytes], index: int) -> str:
    try:
        entries = layout.decode_entry_bundle(found)
    except ProofError as error:
        return error.detail
    for position, (entry, body) in enumerate(zip(entries, bodies, strict=False)):
        if entry != body:
            return f"entry {position} is not that of the rows (leaf {index * TILE_WIDTH + position})"
    return f"{len(entries)} entries instead of {len(bodies)}"
