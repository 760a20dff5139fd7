"""The log opens with implementations that are not ours: aics-tlog for notes, checkpoints, cosignatures, tiles and entry
bundles, pymerkle for the tree. If they are not installed, these tests fail: `tests/interop/requirements.txt`."""

from pathlib import Path

import aics_tlog
import pymerkle
import pytest
from aics_tlog import tiles as other_tiles

from compliance.proof import layout, merkle, note
from compliance.proof.checkpoint import Checkpoint
from tests.proof.vectors import METERPROOF

LOG = METERPROOF / "valid/log"
VKEY = (METERPROOF / "trust/log.vkey").read_text().strip()
WITNESS = next(
    line.split()[2] for line in (METERPROOF / "trust/policy").read_text().splitlines() if line.startswith("witness")
)


def entries(folder: Path, size: int) -> list[bytes]:
    """The log's entries as our own code reads them."""
    found: list[bytes] = []
    for index in range(-(-size // layout.TILE_WIDTH)):
        path = layout.entries_path(index, layout.width_of(size, 0, index))
        found += layout.decode_entry_bundle((folder / path).read_bytes())
    return found


@pytest.mark.parametrize("name", ["log/checkpoint", "checkpoint-0.txt", "checkpoint-100.txt"])
def test_others_verify_our_checkpoints_and_cosignatures(name):
    text = (METERPROOF / "valid" / name).read_text()
    checkpoint = Checkpoint.from_text(note.split(text)[0])
    result = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(text), aics_tlog.parse_vkey(VKEY), [aics_tlog.parse_vkey(WITNESS)], quorum=1
    )
    assert result.ok, result
    theirs = aics_tlog.parse_checkpoint(note.split(text)[0])
    assert (theirs.origin, theirs.size, theirs.root) == (checkpoint.origin, checkpoint.size, checkpoint.root) or (
        theirs.text() == checkpoint.to_text()
    )


def test_others_refuse_a_checkpoint_of_another_key():
    text = (LOG / "checkpoint").read_text().replace("F6TKf9f0", "F6TKf9f1")
    result = aics_tlog.verify_checkpoint(aics_tlog.parse_note(text), aics_tlog.parse_vkey(VKEY))
    assert not result.ok


def test_others_audit_every_tile_and_entry_bundle():
    checkpoint = Checkpoint.from_text(note.split((LOG / "checkpoint").read_text())[0])
    reader = aics_tlog.FileSystemTileReader(LOG)
    report = aics_tlog.audit_tiles(reader, checkpoint.size, checkpoint.root)
    assert (report.tiles, report.bundles) == (3, 2)
    assert aics_tlog.tree_root_from_tiles(reader, checkpoint.size) == checkpoint.root


def test_others_find_an_edited_entry():
    folder = METERPROOF / "invalid/log-entry-edited"
    checkpoint = Checkpoint.from_text(note.split((folder / "checkpoint").read_text())[0])
    with pytest.raises(aics_tlog.TileVerificationError):
        aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(folder), checkpoint.size, checkpoint.root)


@pytest.mark.parametrize("index", [0, 1, 99, 255, 256, 270])
def test_others_prove_inclusion_from_our_tiles_and_we_from_theirs(index):
    checkpoint = Checkpoint.from_text(note.split((LOG / "checkpoint").read_text())[0])
    reader = aics_tlog.FileSystemTileReader(LOG)
    entry = aics_tlog.VerifiedTileReader(reader, checkpoint.size, checkpoint.root).entry(index)
    ours = entries(LOG, checkpoint.size)
    assert entry == ours[index]
    path = aics_tlog.inclusion_proof_from_tiles(reader, index, checkpoint.size)
    hashes = [merkle.leaf_hash(data) for data in ours]
    assert path == merkle.inclusion_path(hashes, index)
    assert aics_tlog.verify_leaf_inclusion(
        entry, index, checkpoint.size, merkle.inclusion_path(hashes, index), checkpoint.root
    )
    merkle.verify_inclusion(
        leaf_hash=merkle.leaf_hash(entry), index=index, size=checkpoint.size, path=path, root=checkpoint.root
    )


@pytest.mark.parametrize(("first", "second"), [(0, 271), (1, 271), (24, 271), (100, 271), (256, 271), (271, 271)])
def test_others_accept_our_consistency_proofs(first, second):
    hashes = [merkle.leaf_hash(data) for data in entries(LOG, second)]
    path = merkle.consistency_path(hashes, first)
    assert aics_tlog.verify_consistency(first, second, merkle.root(hashes[:first]), merkle.root(hashes), path)
    if first:
        assert path == aics_tlog.MerkleTree(entries(LOG, second)).consistency_proof(first, second)


def test_others_name_tiles_as_we_do():
    for level, index, width in [*layout.tiles_of(70_000), (0, 1_234_067, 256), (3, 999, 1)]:
        theirs = other_tiles.tile_path(level, index, None if width == layout.TILE_WIDTH else width)
        assert theirs.removeprefix("tile/") == layout.tile_path(level, index, width).removeprefix("tile/")


def test_the_log_has_the_root_that_pymerkle_computes():
    checkpoint = Checkpoint.from_text(note.split((LOG / "checkpoint").read_text())[0])
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries(LOG, checkpoint.size):
        tree.append_entry(entry)
    assert tree.get_root() == checkpoint.root
    proof = tree.prove_inclusion(1, checkpoint.size)
    pymerkle.verify_inclusion(merkle.leaf_hash(entries(LOG, checkpoint.size)[0]), checkpoint.root, proof)


def test_a_new_log_of_ours_opens_with_theirs(world, tmp_path):
    """Not only the vectors: a log written now, checkpoint, witness line, tiles, entries."""
    folder = world.write_log(tmp_path / "log")
    text = (folder / "checkpoint").read_text()
    result = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(text),
        aics_tlog.parse_vkey(world.signer.vkey),
        [aics_tlog.parse_vkey(world.witness.vkey)],
        quorum=1,
    )
    assert result.ok
    checkpoint = world.checkpoint()
    aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
