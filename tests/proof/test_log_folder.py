"""A log folder file by file: what is read, what is passed over and counted, what is refused and where."""

import json
from pathlib import Path
from typing import Any

import pytest

from compliance.proof import layout, log_folder
from compliance.proof.canonical import encode
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.log_folder import LogFolder
from tests.proof.world import World
from tests.witness.logs import AnyLog


def shown(folder: Path, *sizes: int) -> tuple[LogFolder, Checkpoint]:
    """The folder of a log that was published at each of these sizes."""
    log = AnyLog()
    for size in sizes:
        log.grow(size - len(log.entries))
        log.write(folder)
    return LogFolder(folder), log.checkpoint()


def refusal(folder: LogFolder, checkpoint: Checkpoint) -> tuple[str, str | None]:
    with pytest.raises(ProofError) as refused:
        for _ in folder.read_entries(folder.read_leaf_hashes(checkpoint)):
            pass
    return refused.value.code, refused.value.place


@pytest.mark.parametrize("sizes", [(1,), (256,), (257,), (511, 512, 513), (255, 700)], ids=str)
def test_every_tile_and_entry_is_read(sizes: tuple[int, ...], tmp_path: Path) -> None:
    folder, checkpoint = shown(tmp_path, *sizes)
    leaves = folder.read_leaf_hashes(checkpoint)
    entries = dict(folder.read_entries(leaves))
    assert list(entries) == list(range(sizes[-1]))
    assert all(entries.values())
    assert (folder.beyond, folder.strange) == ([], [])


def test_full_files_stand_for_partial_ones_that_went(tmp_path: Path) -> None:
    folder, _ = shown(tmp_path, 300, 512)
    old = AnyLog(300).checkpoint()
    for path in (layout.tile_path(0, 1, 44), layout.entries_path(1, 44)):
        (tmp_path / path).unlink()
    leaves = folder.read_leaf_hashes(old)
    assert len(dict(folder.read_entries(leaves))) == len(leaves) == 300
    assert sorted(folder.beyond) == [layout.tile_path(0, 1), layout.tile_path(1, 0, 2), layout.entries_path(1)]
    tile = tmp_path / layout.tile_path(0, 1)
    tile.write_bytes(tile.read_bytes()[:-32])
    assert refusal(LogFolder(tmp_path), old) == ("tile.missing", layout.tile_path(0, 1, 44))
    tile.unlink()
    assert refusal(LogFolder(tmp_path), old) == ("tile.missing", layout.tile_path(0, 1, 44))


def test_tiles_of_earlier_sizes_are_beginnings_of_todays(tmp_path: Path) -> None:
    sizes = (5, 260, 300, 600, 770)
    for size, level, index in ((5, 0, 0), (260, 0, 1), (300, 1, 0), (600, 0, 2), (600, 1, 0)):
        folder, checkpoint = shown(tmp_path / f"{size}-{level}", *sizes)
        folder.read_leaf_hashes(checkpoint)
        path = layout.tile_path(level, index, layout.width_of(size, level, index))
        file = folder.path / path
        data = file.read_bytes()
        for wrong in (b"\x00" * 32 + data[32:], data[:-32] + b"\x00" * 32, data[:-1], data + b"x"):
            file.write_bytes(wrong)
            assert refusal(LogFolder(folder.path), checkpoint)[1] == path
    for size, index in ((5, 0), (260, 1), (600, 2)):
        folder, checkpoint = shown(tmp_path / f"e{size}", *sizes)
        width = layout.width_of(size, 0, index)
        file = folder.path / layout.entries_path(index, width)
        entries = layout.decode_entry_bundle(file.read_bytes())
        file.write_bytes(layout.encode_entry_bundle([*entries[:-1], b"other"]))
        last = f"leaf {index * 256 + width - 1} in {layout.entries_path(index, width)}"
        assert refusal(LogFolder(folder.path), checkpoint) == ("entry.hash", last)
        file.write_bytes(layout.encode_entry_bundle([*entries[:-1], b""]))
        LogFolder(folder.path).read_leaf_hashes(checkpoint)
        file.write_bytes(layout.encode_entry_bundle(entries[:-1]))
        assert refusal(LogFolder(folder.path), checkpoint)[0] == "entries.form"


def test_the_tile_that_is_not_its_entries_is_named(tmp_path: Path) -> None:
    for leaf in (0, 255, 256, 599):
        folder, checkpoint = shown(tmp_path / f"{leaf}", 600)
        index = leaf // 256
        path = layout.tile_path(0, index, layout.width_of(600, 0, index))
        data = bytearray((folder.path / path).read_bytes())
        data[leaf % 256 * 32] ^= 1
        (folder.path / path).write_bytes(data)
        above = layout.tile_path(1, 0, 2)
        assert refusal(folder, checkpoint) in (("tile.root", path), ("tile.hash", above))
        (folder.path / layout.entries_path(index, layout.width_of(600, 0, index))).unlink()
        assert refusal(folder, checkpoint) in (("tile.root", "tile/0"), ("tile.hash", above))


def test_a_file_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, checkpoint = shown(tmp_path, 256)
    folder.read_leaf_hashes(checkpoint)
    monkeypatch.setattr(log_folder, "MAX_TILE_BYTES", 256 * 32 - 1)
    assert refusal(folder, checkpoint) == ("json.size", layout.tile_path(0, 0))


def test_what_is_no_text_is_no_checkpoint(tmp_path: Path) -> None:
    folder, _ = shown(tmp_path, 1)
    (tmp_path / "checkpoint").write_bytes(b"\xff")
    with pytest.raises(ProofError) as refused:
        folder.read_checkpoint()
    assert (refused.value.code, refused.value.place) == ("note.form", "checkpoint")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"more": 1}, "batch.form"),
        ({"envelope": []}, "envelope.form"),
        ({"envelope": {}}, "envelope.form"),
        ({"event_hashes": None}, "batch.form"),
        ({"event_hashes": ["x"]}, "batch.form"),
        ({"event_hashes": [7]}, "batch.form"),
        ({"event_hashes": []}, "batch.count"),
    ],
    ids=str,
)
def test_batch_files_of_another_form(change: dict[str, Any], code: str, tmp_path: Path) -> None:
    world = World()
    world.create()
    folder = LogFolder(world.write_log(tmp_path))
    (file,) = (tmp_path / "batches").iterdir()
    assert list(folder.read_batches()) == [file.stem]
    value = json.loads(file.read_bytes())
    file.write_bytes(encode(value | change))
    with pytest.raises(ProofError) as refused:
        folder.read_batches()
    assert (refused.value.code, refused.value.place) == (code, f"batches/{file.name}")
    file.write_bytes(b"")
    with pytest.raises(ProofError) as refused:
        folder.read_batches()
    assert refused.value.code == "json.syntax"
