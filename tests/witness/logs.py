"""A log of anybody: leaves, a key, checkpoints and proofs of any size, and files. It can be forked."""

import hashlib
from pathlib import Path
from typing import Final

from compliance.proof import layout, merkle, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.keys import ED25519, PrivateKey
from compliance.proof.note import TYPE_COSIGNATURE, NoteSigner
from compliance.proof.witness_protocol import AddCheckpoint

ORIGIN: Final = "log.example.test/any"


def key_of(name: str) -> PrivateKey:
    """The key that `name` always gives."""
    return PrivateKey.from_seed(ED25519, hashlib.sha256(name.encode()).digest())


def witness_signer(name: str = "witness.example.test/w1") -> NoteSigner:
    """The signer of a witness."""
    return NoteSigner(name, key_of(name), TYPE_COSIGNATURE)


class AnyLog:
    """`size` entries; `forked_at` gives the same operator's other history from there on."""

    def __init__(self, size: int = 0, *, origin: str = ORIGIN, forked_at: int | None = None) -> None:
        self.signer = NoteSigner(origin, key_of(origin))
        self._forked_at = forked_at
        self.entries: list[bytes] = []
        self.grow(size)

    def grow(self, count: int) -> "AnyLog":
        """`count` more entries."""
        for number in range(len(self.entries), len(self.entries) + count):
            forked = self._forked_at is not None and number >= self._forked_at
            self.entries.append(f"{'other' if forked else 'entry'} {number}".encode())
        return self

    @property
    def hashes(self) -> list[bytes]:
        return [merkle.leaf_hash(entry) for entry in self.entries]

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """What it signs at `size`."""
        hashes = self.hashes[: len(self.entries) if size is None else size]
        return Checkpoint(self.signer.name, len(hashes), merkle.root(hashes))

    def note(self, size: int | None = None) -> str:
        """The signed checkpoint."""
        return note.sign(self.checkpoint(size).to_text(), [self.signer])

    def proof(self, old: int, new: int) -> list[bytes]:
        """Consistency from `old` to `new`."""
        return merkle.consistency_path(self.hashes[:new], old)

    def request(self, old: int, new: int | None = None) -> bytes:
        """The body of an add-checkpoint."""
        new = len(self.entries) if new is None else new
        proof = self.proof(old, new) if old <= new else []
        return AddCheckpoint(old, tuple(proof), self.note(new)).to_bytes()

    def write(self, folder: Path, *, signed: str | None = None) -> Path:
        """The log as files, entry bundles included. Other files stay."""
        size = len(self.entries)
        hashes = self.hashes
        rows = {0: hashes}
        for level, index, width in layout.tiles_of(size):
            if level not in rows:
                below = rows[level - 1]
                rows[level] = [merkle.root(below[at : at + 256]) for at in range(0, len(below) - 255, 256)]
            tile = rows[level][index * 256 : index * 256 + width]
            _write(folder / layout.tile_path(level, index, width), b"".join(tile))
            if level == 0:
                bundle = self.entries[index * 256 : index * 256 + width]
                _write(folder / layout.entries_path(index, width), layout.encode_entry_bundle(bundle))
        _write(folder / "checkpoint", (signed or self.note()).encode())
        return folder


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
