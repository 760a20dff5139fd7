"""Paths and files of tiled logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import layout, merkle, note, tile_proofs
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier
from tests.proof.vectors import VECTORS

SAMPLE = VECTORS / "tlog-tiles/tessera-log"
WORDS = b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()


def test_paths_of_the_specification():
    assert layout.tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert layout.tile_path(0, 0) == "tile/0/000"
    assert layout.tile_path(2, 1_000, 17) == "tile/2/x001/000.p/17"
    assert layout.entries_path(5, 1) == "tile/entries/005.p/1"


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (0, []),
        (1, [(0, 0, 1)]),
        (256, [(0, 0, 256), (1, 0, 1)]),
        (257, [(0, 0, 256), (0, 1, 1), (1, 0, 1)]),
        (70_000, [*((0, n, 256) for n in range(273)), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]),
    ],
)
def test_tiles_of_a_size(size, tiles):
    assert list(layout.tiles_of(size)) == tiles


@given(st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256))
def test_paths_read_back(level, index, width):
    assert layout.parse_tile_path(layout.tile_path(level, index, width)) == (level, index, width)
    assert layout.parse_tile_path(layout.entries_path(index, width)) == (None, index, width)


@pytest.mark.parametrize(
    "path",
    [
        *("tile/64/000", "tile/0/0", "tile/0/x001/1", "tile/0/x000/001", "tile/0/000.p/0", "tile/0/000.p/256"),
        *("tile/0/000.p/257", "tile/00/000", "tile/0/001/000", "tile/x/000", "/tile/0/000", "tile/0/000.p/01"),
    ],
)
def test_other_paths_are_none(path):
    with pytest.raises(ProofError):
        layout.parse_tile_path(path)


def test_a_tile_of_no_width_has_no_path():
    with pytest.raises(ProofError):
        layout.tile_path(0, 0, 0)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_entry_bundles_read_back(entries):
    assert layout.decode_entry_bundle(layout.encode_entry_bundle(entries)) == entries


def test_an_entry_too_long_for_a_bundle_is_refused():
    layout.encode_entry_bundle([b"x" * 65_535])
    with pytest.raises(ProofError):
        layout.encode_entry_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02x", b"\x00\x01xy"])
def test_a_bundle_that_ends_too_early_is_refused(data):
    with pytest.raises(ProofError) as refused:
        layout.decode_entry_bundle(data)
    assert refused.value.code == "entries.form"


def test_the_sample_log_of_others_begins_empty():
    verifier = NoteVerifier.from_vkey((VECTORS / "tlog-tiles/tessera-log.vkey").read_text().strip())
    empty = Checkpoint.from_text(note.open_note((SAMPLE / "checkpoint.0").read_text(), [verifier]).text)
    assert (empty.size, empty.root) == (0, merkle.EMPTY_ROOT)
    assert (SAMPLE / "checkpoint").read_text() == (SAMPLE / "checkpoint.15").read_text()


@pytest.mark.parametrize("size", [1, 2, 5, 8, 15])
def test_the_sample_log_of_others(size):
    """A log made by Tessera: its checkpoint, tiles and entry bundles."""
    verifier = NoteVerifier.from_vkey((VECTORS / "tlog-tiles/tessera-log.vkey").read_text().strip())
    text = note.open_note((SAMPLE / f"checkpoint.{size}").read_text(), [verifier]).text
    checkpoint = Checkpoint.from_text(text)
    entries = layout.decode_entry_bundle((SAMPLE / layout.entries_path(0, size)).read_bytes())
    assert checkpoint.size == size
    assert entries == WORDS[:size]
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    assert merkle.root(hashes) == checkpoint.root
    assert (SAMPLE / layout.tile_path(0, 0, size)).read_bytes() == b"".join(hashes)
    path = tile_proofs.inclusion_path(lambda *tile: (SAMPLE / layout.tile_path(*tile)).read_bytes(), size - 1, size)
    merkle.verify_inclusion(leaf_hash=hashes[-1], index=size - 1, size=size, path=path, root=checkpoint.root)


def test_a_short_tile_is_refused():
    with pytest.raises(ProofError) as refused:
        tile_proofs.root(lambda *_: b"\x00" * 31, 1)
    assert refused.value.code == "tile.size"
    with pytest.raises(ProofError):
        list(layout.new_tiles(read_tile=lambda *_: b"", old_size=1, leaf_hashes=[b"\x00" * 32]))


@given(st.integers(min_value=0, max_value=2**40))
def test_partial_tiles_are_those_that_are_not_full(size: int) -> None:
    """At most one a level, at the right edge, as wide as the log makes it."""
    found = list(layout.partial_tiles_of(size))
    assert len({level for level, _, _ in found}) == len(found)
    for level, index, width in found:
        assert 0 < width == layout.width_of(size, level, index) < layout.TILE_WIDTH
    if size < 70_000:
        assert found == [tile for tile in layout.tiles_of(size) if tile[2] < layout.TILE_WIDTH]
