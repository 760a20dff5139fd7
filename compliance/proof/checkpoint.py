"""Checkpoints of C2SP (https://c2sp.org/tlog-checkpoint): origin, size and root of the log, text of a signed note."""

import re
from dataclasses import dataclass
from typing import Final

from compliance.proof import base64_text
from compliance.proof.errors import ProofError
from compliance.proof.merkle import HASH_BYTES
from compliance.proof.strict_json import MAX_INTEGER

ORIGIN: Final = re.compile(r"[!-*,-~]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `size` entries of the log `origin` have the tree `root`."""

    origin: str
    size: int
    root: bytes

    def to_text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64_text.encode(self.root)}\n"

    @classmethod
    def from_text(cls, text: str) -> "Checkpoint":
        """Raises ProofError `checkpoint.form` unless `text` is exactly three lines in the one spelling."""
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1]:
            raise ProofError("checkpoint.form", "a checkpoint is three lines: origin, size, root")
        origin, size, encoded = lines[:_LINES]
        if ORIGIN.fullmatch(origin) is None:
            raise ProofError("checkpoint.form", f"{origin[:80]!r} is no origin of a log")
        if _SIZE.fullmatch(size) is None or int(size) > MAX_INTEGER:
            raise ProofError("checkpoint.form", f"{size[:40]!r} is no tree size (decimal, no leading zero)")
        root = base64_text.decode(encoded)
        if root is None or len(root) != HASH_BYTES:
            raise ProofError("checkpoint.form", "the root is not base64 of 32 bytes")
        return cls(origin, int(size), root)

    @classmethod
    def from_extended_text(cls, text: str) -> "Checkpoint":
        """The checkpoint of any log: lines after the third are for others and not read. Ours has none."""
        lines = text.split("\n")
        if not text.endswith("\n") or not all(lines[:-1]):
            raise ProofError("checkpoint.form", "a checkpoint is lines that are not empty")
        return cls.from_text("\n".join(lines[:_LINES]) + "\n")


def is_origin(text: object) -> bool:
    """Whether `text` can be the origin of a log: 1-255 printable ASCII characters, no blank, no plus sign."""
    return type(text) is str and ORIGIN.fullmatch(text) is not None
