"""RFC 6962 trees: the official cases, and that every way of computing the same thing agrees."""

import base64
import hashlib
from collections.abc import Sequence

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.proof import layout, merkle, tile_proofs
from compliance.proof.errors import ProofError
from compliance.proof.merkle import RightEdge
from tests.proof.vectors import load

SIZES = [*range(70), *range(255, 258), 511, 512, 513, 1_000]
TREE = load("rfc6962-merkle/tree.json")


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % number) for number in range(count)]


def oracle(hashes: Sequence[bytes]) -> bytes:
    """The root as RFC 6962 section 2.1 writes it, by recursion."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + oracle(hashes[:split]) + oracle(hashes[split:])).digest()


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("case", load("rfc6962-merkle/inclusion.json"), ids=lambda case: f"{case['name']}")
def test_official_inclusion(case):
    def verify() -> None:
        merkle.verify_inclusion(
            leaf_hash=decoded(case["leafHash"]),
            index=case["leafIdx"],
            size=case["treeSize"],
            path=[decoded(item) for item in case["proof"] or ()],
            root=decoded(case["root"]),
        )

    if not case["wantErr"]:
        verify()
        return
    with pytest.raises(ProofError) as refused:
        verify()
    assert refused.value.code == "proof.inclusion"


@pytest.mark.parametrize("case", load("rfc6962-merkle/consistency.json"), ids=lambda case: f"{case['name']}")
def test_official_consistency(case):
    def verify() -> None:
        merkle.verify_consistency(
            first_size=case["size1"],
            second_size=case["size2"],
            first_root=decoded(case["root1"]),
            second_root=decoded(case["root2"]),
            path=[decoded(item) for item in case["proof"] or ()],
        )

    if not case["wantErr"]:
        verify()
        return
    with pytest.raises(ProofError) as refused:
        verify()
    assert refused.value.code == "proof.consistency"


def test_official_hashes_and_roots():
    inputs = [bytes.fromhex(text) for text in TREE["leaf_inputs_hex"]]
    for size, wanted in enumerate(TREE["root_hex_by_size"]):
        assert merkle.root([merkle.leaf_hash(data) for data in inputs[:size]]).hex() == wanted
    for case in TREE["hash_cases"]:
        if "leaf_hex" in case:
            assert merkle.leaf_hash(bytes.fromhex(case["leaf_hex"])).hex() == case["want"]
        elif "left_hex" in case:
            left, right = bytes.fromhex(case["left_hex"]), bytes.fromhex(case["right_hex"])
            assert merkle.node_hash(left, right).hex() == case["want"]
        else:
            assert merkle.EMPTY_ROOT.hex() == case["want"]


@pytest.mark.parametrize("size", SIZES)
def test_roots_agree(size):
    """Recursive oracle, level by level, right edge, its bytes, and tiles: one root."""
    hashes = leaves(size)
    wanted = oracle(hashes)
    edge = RightEdge()
    edge.extend(hashes)
    tiles = {(level, index): data for level, index, _, data in _grown(hashes, [size])}
    assert merkle.root(hashes) == wanted
    assert edge.root() == wanted
    assert RightEdge.from_bytes(edge.to_bytes()).root() == wanted
    assert tile_proofs.root(lambda level, index, width: tiles[level, index][: 32 * width], size) == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 64, 65, 255, 256, 257])
def test_the_root_is_that_of_pymerkle(size):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for number in range(size):
        tree.append_entry(b"%d" % number)
    assert tree.get_root() == merkle.root(leaves(size))


@given(st.integers(1, 300), st.data())
@settings(max_examples=60)
def test_every_inclusion_path_verifies_and_no_other(size, data):
    """Made from hashes, for many at once, or read from tiles: the same path; one bit off, and it fails."""
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    tiles = {(level, number): tile for level, number, _, tile in _grown(hashes, [size])}
    path = merkle.inclusion_path(hashes, index)
    assert merkle.inclusion_paths(hashes, [index]) == [path]
    assert (
        tile_proofs.inclusion_path(lambda level, number, width: tiles[level, number][: 32 * width], index, size) == path
    )
    root = merkle.root(hashes)
    parts = {"leaf_hash": hashes[index], "index": index, "size": size, "path": path, "root": root}
    merkle.verify_inclusion(**parts)
    wrong = [
        parts | {"path": [*path, root]},
        parts | {"index": size},
        parts | {"index": -1},
        parts | {"root": flipped(root, data)},
        parts | {"leaf_hash": flipped(hashes[index], data)},
        *(parts | {"path": path[:-1]} for _ in path[:1]),
        *(parts | {"path": [*path[:at], flipped(path[at], data), *path[at + 1 :]]} for at in range(len(path))),
    ]
    for changed in wrong:
        with pytest.raises(ProofError) as refused:
            merkle.verify_inclusion(**changed)
        assert refused.value.code == "proof.inclusion"


def test_every_single_bit_of_a_proof_counts():
    hashes = leaves(11)
    path, root = merkle.inclusion_path(hashes, 4), merkle.root(hashes)
    for part in range(len(path)):
        for bit in range(256):
            changed = list(path)
            changed[part] = bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(path[part]))
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaf_hash=hashes[4], index=4, size=11, path=changed, root=root)
    for index in set(range(11)) - {4}:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf_hash=hashes[4], index=index, size=11, path=path, root=root)


@given(st.integers(0, 300), st.integers(0, 300), st.data())
@settings(max_examples=60)
def test_every_consistency_path_verifies_and_no_other(first, second, data):
    first, second = min(first, second), max(first, second)
    hashes = leaves(second)
    tiles = {(level, number): tile for level, number, _, tile in _grown(hashes, [second])}
    path = merkle.consistency_path(hashes, first)
    read = tile_proofs.consistency_path(lambda level, number, width: tiles[level, number][: 32 * width], first, second)
    assert read == path
    parts = {
        "first_size": first,
        "second_size": second,
        "first_root": merkle.root(hashes[:first]),
        "second_root": merkle.root(hashes),
        "path": path,
    }
    merkle.verify_consistency(**parts)
    wrong = [
        parts | {"path": [*path, b"\x00" * 32]},
        parts | {"first_root": flipped(parts["first_root"], data)},
        *(parts | {"path": path[1:]} for _ in path[:1]),
        *(parts | {"second_root": flipped(parts["second_root"], data)} for _ in range(first > 0)),
        *(parts | {"path": [*path[:at], flipped(path[at], data), *path[at + 1 :]]} for at in range(len(path))),
    ]
    for changed in wrong:
        with pytest.raises(ProofError) as refused:
            merkle.verify_consistency(**changed)
        assert refused.value.code == "proof.consistency"


@given(st.lists(st.integers(0, 600), min_size=1, max_size=5))
@settings(max_examples=40)
def test_tiles_do_not_depend_on_how_the_log_grew(steps):
    """Whatever sizes were published on the way, a full tile never changes and a partial one is a beginning of it."""
    sizes = sorted({size for size in steps if size} | {max(steps) or 1})
    hashes = leaves(sizes[-1])
    grown: dict[str, bytes] = {}
    for level, index, width, data in _grown(hashes, sizes):
        path = layout.tile_path(level, index, width)
        assert grown.setdefault(path, data) == data
    for size in sizes:
        for level, index, width in layout.tiles_of(size):
            assert layout.tile_path(level, index, width) in grown
    listed = {
        layout.tile_path(*tile)
        for before, size in zip([0, *sizes], sizes, strict=False)
        for tile in layout.tiles_for(before, size)
    }
    assert listed == grown.keys()


@pytest.mark.parametrize(
    "call",
    [
        lambda: merkle.inclusion_path(leaves(3), 3),
        lambda: merkle.inclusion_paths(leaves(3), [0, 3]),
        lambda: tile_proofs.inclusion_path(lambda *_: b"", 3, 3),
        lambda: tile_proofs.inclusion_path(lambda *_: b"", 1, 3),
        lambda: merkle.consistency_path(leaves(3), 4),
        lambda: tile_proofs.consistency_path(lambda *_: b"", 4, 3),
        lambda: RightEdge.from_bytes(b""),
        lambda: RightEdge.from_bytes(b"\x00" * 7 + b"\x03" + b"\x00" * 32),
    ],
)
def test_what_no_tree_has_is_refused(call):
    with pytest.raises(ProofError):
        call()


def flipped(value: bytes, data: st.DataObject) -> bytes:
    """`value` with one bit the other way."""
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(value))


def _grown(hashes: list[bytes], sizes: Sequence[int]) -> list[tuple[int, int, int, bytes]]:
    """Every tile written while a log grew to each of `sizes`."""
    stored: dict[tuple[int, int, int], bytes] = {}
    written: list[tuple[int, int, int, bytes]] = []
    before = 0
    for size in sizes:
        added = list(
            layout.new_tiles(
                read_tile=lambda *tile: stored[tile],  # noqa: B023 - used up at once
                old_size=before,
                leaf_hashes=hashes[before:size],
            )
        )
        written += added
        stored |= {(level, index, width): data for level, index, width, data in added}
        before = size
    return written


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, 1), (3, 3), (3, -1)])
def test_there_is_no_path_from_a_leaf_outside_the_tree(size, index):
    for ask in (merkle.inclusion_path, lambda hashes, at: merkle.inclusion_paths(hashes, [0, at] if size else [at])):
        with pytest.raises(ProofError) as refused:
            ask(leaves(size), index)
        assert refused.value.code == "proof.inclusion"
