"""What a witness keeps when it refuses: the request, and the checkpoint that it cosigned instead. Files for people.

Two checkpoints of one size with different roots, both signed by the log, prove by themselves that the log showed two
histories. A consistency proof that does not hold may be anybody's mistake, for old checkpoints are public: it is kept
too, but apart and bounded, so that nobody can fill the disk or crowd out a proof.
"""

import hashlib
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Final

from compliance.witness.store import Cosigned

logger = logging.getLogger(__name__)

FORK: Final = "fork"
UNPROVEN: Final = "unproven"
MAX_KEPT: Final = {FORK: 1000, UNPROVEN: 100}  # a fork can only come from who holds the log key
REFUSED: Final = "refused-checkpoint"
COSIGNED: Final = "cosigned-checkpoint"


def keep(folder: Path, *, kind: str, refused: str, request: bytes, last: Cosigned, why: str, at: int) -> Path | None:
    """Write one refusal below `folder`, durably and wholly; None if enough of its kind are there.

    The same pair of checkpoints is kept once.
    """
    text = refused.split("\n\n")[0]
    name = hashlib.sha256(f"{kind}\n{text}\n{last.size}\n{last.root.hex()}".encode()).hexdigest()[:32]
    target = folder / kind / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sum(1 for _ in target.parent.iterdir()) >= MAX_KEPT[kind]:
        logger.error("no more evidence of kind %s is kept below %s: move it away", kind, folder)
        return None
    draft = target.with_name(f".{name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    said = {"origin": last.origin, "kind": kind, "why": why, "time": at}
    for file, data in (
        (REFUSED, refused.encode()),
        (COSIGNED, last.note.encode()),
        ("request", request),
        ("why.json", (json.dumps(said, indent=1) + "\n").encode()),
    ):
        _write(draft / file, data)
    _sync(draft)
    try:
        draft.rename(target)
    except OSError:  # another thread kept the same
        for written in draft.iterdir():
            written.unlink()
        draft.rmdir()
    _sync(target.parent)
    return target


def count(folder: Path) -> dict[str, int]:
    """How many refusals of each kind lie below `folder`."""
    return {kind: sum(1 for item in (folder / kind).glob("[!.]*")) for kind in MAX_KEPT}


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
