"""Merkle tree of RFC 6962 section 2.1: hashes, roots, inclusion and consistency proofs.

Pure functions over bytes. Leaves are the canonical bytes of entries (the log) or of events (a batch); nothing here
knows about files, tiles or databases.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from compliance.proof.errors import ProofError

_sha256 = hashlib.sha256
# Copying a hash that was begun costs half of beginning one: OpenSSL 3 looks its algorithm up each time.
_leaf = _sha256(b"\x00")
_node = _sha256(b"\x01")
HASH_BYTES: Final = 32
EMPTY_ROOT: Final = _sha256(b"").digest()
MAX_PATH: Final = 63  # a path this long belongs to a tree no machine holds


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's bytes."""
    running = _leaf.copy()
    running.update(data)
    return running.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two hashes below."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over `leaf_hashes`, level by level; an odd last node moves up unchanged, which is RFC 6962's split."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    begin = _node.copy
    while len(level) > 1:
        pairs = iter(level)
        above: list[bytes] = []
        for left, right in zip(pairs, pairs, strict=False):
            node = begin()
            node.update(left + right)
            above.append(node.digest())
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return level[0]


class RightEdge:
    """The right edge of a growing tree: the root of each perfect subtree, one for every set bit of `size`."""

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the end."""
        carried, roots = self.size, self._roots
        while carried & 1:
            leaf = _sha256(b"\x01" + roots.pop() + leaf).digest()
            carried >>= 1
        roots.append(leaf)
        self.size += 1

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Add leaf hashes at the end, in order."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def root(self) -> bytes:
        """Root of the tree as it stands."""
        if not self._roots:
            return EMPTY_ROOT
        running = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            running = node_hash(left, running)
        return running

    def to_bytes(self) -> bytes:
        """Size in eight bytes, then the subtree roots from left to right."""
        return self.size.to_bytes(8, "big") + b"".join(self._roots)

    @classmethod
    def from_bytes(cls, data: bytes) -> "RightEdge":
        """What `to_bytes` gave. Raises ProofError `tile.size` for another length."""
        edge = cls()
        size = int.from_bytes(data[:8], "big")
        if len(data) != 8 + HASH_BYTES * size.bit_count():
            raise ProofError("tile.size", f"{len(data)} bytes are no right edge of {size} leaves")
        edge.size = size
        edge._roots = [data[at : at + HASH_BYTES] for at in range(8, len(data), HASH_BYTES)]
        return edge


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Sibling hashes from leaf `index` to the root of the tree over `leaf_hashes`."""
    if not 0 <= index < len(leaf_hashes):
        raise ProofError("proof.inclusion", f"leaf {index} cannot be in a tree of {len(leaf_hashes)}")
    return path_in(list(leaf_hashes), index)


def path_in(level: list[bytes], index: int) -> list[bytes]:
    """As `inclusion_path` for a list this may use up."""
    path: list[bytes] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _level_above(level)
        index >>= 1
    return path


def inclusion_paths(leaf_hashes: Sequence[bytes], indexes: Sequence[int]) -> list[list[bytes]]:
    """The paths of several leaves, hashing the tree once."""
    for index in indexes:
        if not 0 <= index < len(leaf_hashes):
            raise ProofError("proof.inclusion", f"leaf {index} cannot be in a tree of {len(leaf_hashes)}")
    levels = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        levels.append(_level_above(levels[-1]))
    return [
        [level[sibling] for height, level in enumerate(levels) if (sibling := (index >> height) ^ 1) < len(level)]
        for index in indexes
    ]


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `leaf_hash` is the leaf at `index` of the tree of `size` leaves with `root`.

    `path` holds 32-byte sibling hashes from leaf to root. Source: RFC 9162 section 2.1.3.2.
    """
    if inclusion_root(leaf_hash=leaf_hash, index=index, size=size, path=path) != root:
        raise ProofError("proof.inclusion", f"the path of leaf {index} leads to another root")


def inclusion_root(*, leaf_hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that `path` leads to from `leaf_hash` at `index` in a tree of `size` leaves.

    Raises ProofError if the path cannot be that leaf's. Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofError("proof.inclusion", f"leaf {index} cannot be in a tree of {size}")
    _require_hashes("proof.inclusion", leaf_hash, *path)
    first, last, running = index, size - 1, leaf_hash
    for sibling in path:
        if last == 0:
            raise ProofError("proof.inclusion", f"the path of leaf {index} is too long")
        if first & 1 or first == last:
            running = node_hash(sibling, running)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            running = node_hash(running, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("proof.inclusion", f"the path of leaf {index} is too short")
    return running


def consistency_path(leaf_hashes: Sequence[bytes], first: int) -> list[bytes]:
    """Proof that the tree over the first `first` of `leaf_hashes` is the beginning of the whole. RFC 6962 2.1.2."""
    size = len(leaf_hashes)
    if not 0 <= first <= size:
        raise ProofError("proof.consistency", f"a tree of {first} is no beginning of one of {size}")
    if first in (0, size):
        return []
    path: list[bytes] = []
    low, high, complete = 0, size, True
    while first != high - low:
        split = 1 << ((high - low - 1).bit_length() - 1)
        if first <= split:
            path.append(root(leaf_hashes[low + split : high]))
            high = low + split
        else:
            path.append(root(leaf_hashes[low : low + split]))
            low, first, complete = low + split, first - split, False
    if not complete:
        path.append(root(leaf_hashes[low:high]))
    path.reverse()
    return path


def verify_consistency(
    *, first_size: int, second_size: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Raise ProofError unless the first tree is the beginning of the second. Source: RFC 9162 section 2.1.4.2."""
    _require_hashes("proof.consistency", first_root, second_root, *path)
    if not 0 <= first_size <= second_size:
        raise ProofError("proof.consistency", f"a tree of {first_size} is no beginning of one of {second_size}")
    if first_size == second_size:
        if path or first_root != second_root:
            raise ProofError("proof.consistency", f"two trees of {first_size} leaves with different roots or a path")
        return
    if first_size == 0:
        if path or first_root != EMPTY_ROOT:
            raise ProofError("proof.consistency", "the empty tree has one root and needs no path")
        return
    new = consistency_root(first_size=first_size, second_size=second_size, first_root=first_root, path=path)
    if new != second_root:
        raise ProofError("proof.consistency", "the path does not give the newer root")


def consistency_root(*, first_size: int, second_size: int, first_root: bytes, path: Sequence[bytes]) -> bytes:
    """The root of the tree of `second_size` leaves that `path` proves to begin with the one of `first_root`.

    For 0 < `first_size` < `second_size`, where there is something to prove; raises ProofError else, and if the path
    does not give `first_root`. Source: RFC 9162 section 2.1.4.2.
    """
    _require_hashes("proof.consistency", first_root, *path)
    if not 0 < first_size < second_size:
        raise ProofError("proof.consistency", f"a tree of {first_size} in one of {second_size} needs no path")
    if not path:
        raise ProofError("proof.consistency", "the path is empty")
    hashes = list(path)
    if first_size & (first_size - 1) == 0:
        hashes.insert(0, first_root)
    first, last = first_size - 1, second_size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("proof.consistency", "the path is too long")
        if first & 1 or first == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("proof.consistency", "the path is too short")
    if old != first_root:
        raise ProofError("proof.consistency", "the path does not give the older root")
    return new


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    pairs = iter(level)
    above = [node_hash(left, right) for left, right in zip(pairs, pairs, strict=False)]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _require_hashes(code: str, *hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(code, f"a hash of {len(value)} bytes")
