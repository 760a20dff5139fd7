"""What a monitor keeps between runs: the checkpoint it saw last, the edge of its tree, and evidence. One folder.

`state.json` is replaced as a whole; `lock` keeps two runs apart; `evidence/` holds for each thing that was wrong both
checkpoints and the words, once.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compliance.proof import base64_text, durable_files, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.monitor.tree import Tree

FORMAT: Final = "meterproof-monitor/1"
STATE: Final = "state.json"
LOCK: Final = "lock"
EVIDENCE: Final = "evidence"
MAX_STATE_BYTES: Final = 4 * 1024 * 1024  # a note of the largest size and a tile a level take less
MAX_EVIDENCE: Final = 1000  # each run can find one thing more; nobody looks at a thousand


@dataclass(slots=True)
class Kept:
    """The checkpoint accepted last. `changed_at` is when this size was seen first, posix seconds; `entries` is how
    many entries were hashed again.
    """

    note: str
    checkpoint: Checkpoint
    tree: Tree
    changed_at: int
    seen_at: int
    entries: int = 0


@dataclass(slots=True)
class Memory:
    """The folder. To be used inside `locked`."""

    folder: Path
    kept: Kept | None = field(default=None)

    def load(self) -> None:
        """Read what is kept. Raises NotCheckable `monitor.state`."""
        try:
            with (self.folder / STATE).open("rb") as file:
                data = file.read(MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise NotCheckable("monitor.state", error.strerror or "cannot be read", place=STATE) from None
        try:
            self.kept = _read(json.loads(data))
        except (KeyError, TypeError, ValueError, AttributeError, ProofError) as error:
            raise NotCheckable("monitor.state", f"it contradicts itself ({error})", place=STATE) from None

    def save(self, kept: Kept) -> None:
        """Replace what is kept, durably."""
        self.kept = kept
        value = {
            "format": FORMAT,
            "note": kept.note,
            "rows": {str(level): base64_text.encode(row) for level, row in sorted(kept.tree.rows.items())},
            "changed_at": kept.changed_at,
            "seen_at": kept.seen_at,
            "entries": kept.entries,
        }
        durable_files.replace(self.folder / STATE, (json.dumps(value, indent=1) + "\n").encode())

    def keep_evidence(self, said: Mapping[str, Any], files: Mapping[str, bytes]) -> Path | None:
        """Write `files` and the words `said` into a folder of their own, once for the same files; None if there are too
        many.
        """
        digest = hashlib.sha256(said["code"].encode())
        for name, data in sorted(files.items()):
            digest.update(f"\n{name} {hashlib.sha256(data).hexdigest()}".encode())
        target = self.folder / EVIDENCE / f"{said['code']}-{digest.hexdigest()[:16]}"
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if sum(1 for _ in target.parent.glob("[!.]*")) >= MAX_EVIDENCE:
            return None
        finding = (json.dumps(said, indent=1) + "\n").encode()
        durable_files.create_folder(target, {**files, "finding.json": finding})
        return target


@contextmanager
def locked(folder: Path) -> Iterator[Memory]:
    """The folder for this run alone. Raises NotCheckable `monitor.busy`, `monitor.state`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise NotCheckable("monitor.state", error.strerror or "cannot be made", place=str(folder)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotCheckable("monitor.busy", "another run is at work here", place=str(folder)) from None
        memory = Memory(folder)
        memory.load()
        yield memory
    finally:
        os.close(descriptor)


def _read(value: Mapping[str, Any]) -> Kept:
    if value["format"] != FORMAT:
        raise ValueError("another format")
    text = str(value["note"])
    checkpoint = Checkpoint.from_extended_text(note.split(text)[0])
    rows = {int(level): base64_text.decode(row) or b"" for level, row in value["rows"].items()}
    tree = Tree(checkpoint.size, rows)
    tree.require_sound()
    if tree.root() != checkpoint.root:
        raise ValueError("its tiles are not those of its checkpoint")
    return Kept(text, checkpoint, tree, int(value["changed_at"]), int(value["seen_at"]), int(value["entries"]))
