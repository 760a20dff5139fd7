"""The signer of checkpoints, and its memory: what it signed last, in a file outside the database.

Whoever restores or rewrites the database cannot rewrite this with it: the signer compares what it is asked to sign
with its own memory and refuses whatever does not follow from it. Folder SIGNER_DIR; on one machine of an installation
only.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.jobs.failpoints import reach
from compliance.ledger import files, keys, post_quantum_key
from compliance.ledger.errors import SignerRefused, StateRefused
from compliance.proof import merkle, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier
from compliance.proof.times import format_time, parse_time

MEMORY: Final = "signed.json"
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed last, and how many before it. `right_edge` lets the tree be continued without reading the log."""

    number: int
    checkpoint: Checkpoint
    right_edge: bytes
    note: str
    signed_at: datetime


def last_signed() -> Signed | None:
    """What the signer remembers; None if it never signed. Raises StateRefused when its memory is unreadable."""
    path = _folder() / MEMORY
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StateRefused(
            f"{path} cannot be read ({error}). Restore it from its backup; never make a new one."
        ) from None
    try:
        edge = merkle.RightEdge.from_bytes(bytes.fromhex(stored["right_edge"]))
        checkpoint = Checkpoint(stored["origin"], stored["size"], bytes.fromhex(stored["root"]))
        if (edge.size, edge.root()) != (checkpoint.size, checkpoint.root):
            raise ValueError("its right edge is of another tree")
        if note.split(stored["note"])[0] != checkpoint.to_text():
            raise ValueError("its note is of another tree")
        return Signed(
            int(stored["number"]), checkpoint, edge.to_bytes(), stored["note"], parse_time(stored["signed_at"])
        )
    except (KeyError, TypeError, ValueError, ProofError) as error:
        raise StateRefused(f"{path} contradicts itself ({error}). Restore it from its backup.") from None


@contextmanager
def exclusive(*, wait: bool) -> Iterator[bool]:
    """Hold the signer alone until the block ends; yields False if another holds it and `wait` is False."""
    with files.locked(_folder() / LOCK, wait=wait) as is_held:
        yield is_held


def sign(
    *,
    expected: Checkpoint | None,
    edge: merkle.RightEdge,
    consistency: Sequence[bytes],
    at: datetime,
    verifiers: Sequence[NoteVerifier],
) -> str:
    """Sign the tree of `edge` as following `expected`, with the keys of `verifiers` (and ML-DSA-44, if that is on),
    remember it durably, and return the note.

    To be called inside `exclusive`. Raises SignerRefused if the memory is not `expected` (compare and swap), for a
    smaller size, the same size with another root, a consistency proof that does not hold, and a clock that went back;
    KeyUnavailable, before anything is remembered, when one of the keys cannot sign.
    """
    origin = settings.METERPROOF["ORIGIN"]
    checkpoint = Checkpoint(origin, edge.size, edge.root())
    last = last_signed()
    if (last.checkpoint if last else None) != expected:
        raise SignerRefused(f"The signer last signed {_said(last)}, not what it is told it signed.")
    if last is not None:
        _require_follows(last, checkpoint, consistency, at)
    signers = [*keys.log_signers(verifiers), *post_quantum_key.signers()]
    signed = note.sign(checkpoint.to_text(), signers, time=int(at.timestamp()))
    reach("ledger.signer.signed")
    _remember(Signed(last.number + 1 if last else 1, checkpoint, edge.to_bytes(), signed, at))
    reach("ledger.signer.stored")
    return signed


def take_over(*, signed: str, edge: merkle.RightEdge, number: int, at: datetime) -> None:
    """Remember what another installation signed, for a mirror of its log. Raises StateRefused if there is a memory."""
    if last_signed() is not None:
        raise StateRefused(f"{_folder() / MEMORY} is there already. Only an empty installation takes over a log.")
    checkpoint = Checkpoint.from_text(note.split(signed)[0])
    _remember(Signed(number, checkpoint, edge.to_bytes(), signed, at))


def _remember(signed: Signed) -> None:
    memory = {
        "number": signed.number,
        "origin": signed.checkpoint.origin,
        "size": signed.checkpoint.size,
        "root": signed.checkpoint.root.hex(),
        "right_edge": signed.right_edge.hex(),
        "note": signed.note,
        "signed_at": format_time(signed.signed_at),
    }
    files.replace(_folder() / MEMORY, (json.dumps(memory, indent=1) + "\n").encode(), mode=0o600)


def _require_follows(last: Signed, new: Checkpoint, consistency: Sequence[bytes], at: datetime) -> None:
    if new.origin != last.checkpoint.origin:
        raise SignerRefused(f"The signer signs for {last.checkpoint.origin}, not for {new.origin}.")
    if new.size < last.checkpoint.size:
        raise SignerRefused(f"The log shrank: {_said(last)} was signed, now it has {new.size} entries.")
    if new.size == last.checkpoint.size and new.root != last.checkpoint.root:
        raise SignerRefused(f"The log of {new.size} entries has another root than the one that was signed.")
    if at < last.signed_at:
        raise SignerRefused(f"The clock went back: {_said(last)} was signed at {format_time(last.signed_at)}.")
    try:
        merkle.verify_consistency(
            first_size=last.checkpoint.size,
            second_size=new.size,
            first_root=last.checkpoint.root,
            second_root=new.root,
            path=consistency,
        )
    except ProofError as error:
        raise SignerRefused(f"The log is not a continuation of {_said(last)}: {error.detail}.") from error


def _said(last: Signed | None) -> str:
    return f"a log of {last.checkpoint.size} entries" if last else "nothing yet"


def _folder() -> Path:
    path: Path = settings.METERPROOF["SIGNER_DIR"]
    return path
