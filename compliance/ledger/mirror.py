"""Copies of a log that somebody else keeps: what an installation knows that holds only what was exported.

A mirror has no private keys: it serves, searches, proves and checks, and records nothing. What no export holds (people,
roles, sessions, findings' comments, reviews, issued PDFs) it does not have; `fsck` leaves out what compares that.
Rooms above register here what they make again from the log alone, and where they keep evidence files.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.ledger import files

MARK: Final = "mirror.json"  # beside the signer's memory: whoever has only the database cannot claim to be a mirror
LEFT_OUT: Final = (
    "people, their roles and sessions, API keys and settings",
    "rows and reviews of evidence, and issued PDF reports (their entries and digests are in the log)",
    "the private keys",
    "batches that were not published yet",
)


@dataclass(frozen=True, slots=True)
class EvidenceFiles:
    """Where a room keeps files by SHA-256: `find` gives the checked bytes, None if they are not there."""

    find: Callable[[str], bytes | None]
    keep: Callable[[bytes], None]


_rebuilders: list[Callable[[], object]] = []
_evidence: list[EvidenceFiles] = []


def register_rebuild(function: Callable[[], object]) -> None:
    """Let `function` make the tables of its room again from the log, after an import. For AppConfig.ready."""
    if function not in _rebuilders:
        _rebuilders.append(function)


def register_evidence(kept: EvidenceFiles) -> None:
    """Let exports and imports reach the evidence files. For AppConfig.ready."""
    _evidence[:] = [kept]


def rebuild_projections() -> None:
    """Everything that rooms make from the log, in the order of the rooms."""
    for function in _rebuilders:
        function()


def evidence_files() -> EvidenceFiles | None:
    """The evidence files, if there is a room for them."""
    return _evidence[0] if _evidence else None


def is_mirror() -> bool:
    """Whether this installation was imported and has not become a log of its own right."""
    return _mark().exists()


def mark(*, size: int) -> None:
    """Remember that this is a mirror, imported at `size` entries."""
    files.replace(_mark(), (json.dumps({"imported_at_size": size}) + "\n").encode(), mode=0o600)


def unmark() -> None:
    """Undo `mark` when an import failed."""
    _mark().unlink(missing_ok=True)


def _mark() -> Path:
    folder: Path = settings.METERPROOF["SIGNER_DIR"]
    return folder / MARK
