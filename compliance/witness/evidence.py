"""What a witness keeps when it refuses: the request, and the checkpoint that it cosigned instead. Files for people.

Two checkpoints of one size with different roots, both signed by the log, prove by themselves that the log showed two
histories. A consistency proof that does not hold may be anybody's mistake, for old checkpoints are public: it is kept
too, but apart and bounded, so that nobody can fill the disk or crowd out a proof.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Final

from compliance.proof import durable_files
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
    if sum(1 for _ in target.parent.glob("[!.]*")) >= MAX_KEPT[kind]:
        logger.error("no more evidence of kind %s is kept below %s: move it away", kind, folder)
        return None
    said = {"origin": last.origin, "kind": kind, "why": why, "time": at}
    files = {
        REFUSED: refused.encode(),
        COSIGNED: last.note.encode(),
        "request": request,
        "why.json": (json.dumps(said, indent=1) + "\n").encode(),
    }
    durable_files.create_folder(target, files, mode=0o700)  # or another thread kept the same
    return target


def count(folder: Path) -> dict[str, int]:
    """How many refusals of each kind lie below `folder`."""
    return {kind: sum(1 for item in (folder / kind).glob("[!.]*")) for kind in MAX_KEPT}
