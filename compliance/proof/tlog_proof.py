"""Proof files of C2SP (https://c2sp.org/tlog-proof): one inclusion proof with its checkpoint, as text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from compliance.proof import base64_text, merkle
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.strict_json import MAX_INTEGER

HEADER: Final = "c2sp.org/tlog-proof@v1\n"
SUFFIX: Final = ".tlog-proof"
MAX_BYTES: Final = 1_100_000  # a note of the largest size and 63 hashes
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof file. `checkpoint` is the signed note; `extra` is not authenticated."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def to_text(self) -> str:
        """The file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64_text.encode(self.extra)}\n")
        lines.append(f"index {self.index}\n")
        lines += [f"{base64_text.encode(sibling)}\n" for sibling in self.path]
        return "".join(lines) + "\n" + self.checkpoint

    @classmethod
    def from_text(cls, text: str) -> "TlogProof":
        """Raises ProofError `proof.form`."""
        head, blank, checkpoint = text.partition("\n\n")
        if not text.startswith(HEADER) or not blank or len(text) > MAX_BYTES:
            raise ProofError("proof.form", f"not a file that begins with {HEADER.strip()}")
        lines = head.split("\n")[1:]
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = base64_text.decode(lines.pop(0).removeprefix("extra "))
            if extra is None:
                raise ProofError("proof.form", "extra is not base64")
        match = _INDEX.fullmatch(lines[0]) if lines else None
        if match is None or int(match.group(1)) > MAX_INTEGER:
            raise ProofError("proof.form", "no line with the index")
        path = [base64_text.decode(line) for line in lines[1:]]
        if len(path) > merkle.MAX_PATH or any(sibling is None or len(sibling) != merkle.HASH_BYTES for sibling in path):
            raise ProofError("proof.form", "a line of the path is not base64 of 32 bytes")
        return cls(int(match.group(1)), tuple(sibling for sibling in path if sibling), checkpoint, extra)

    def verify(self, *, leaf_hash: bytes, checkpoint: Checkpoint) -> None:
        """Raise ProofError `proof.inclusion` unless `leaf_hash` is at `index` under the opened `checkpoint`."""
        merkle.verify_inclusion(
            leaf_hash=leaf_hash, index=self.index, size=checkpoint.size, path=self.path, root=checkpoint.root
        )


def build(*, index: int, path: Sequence[bytes], checkpoint: str, extra: bytes | None = None) -> str:
    """The proof file for leaf `index` under the signed note `checkpoint`."""
    return TlogProof(index, tuple(path), checkpoint, extra).to_text()
