"""What a log and a witness say to each other: C2SP tlog-witness (https://c2sp.org/tlog-witness), as bytes.

A log sends `add-checkpoint`: the size the witness cosigned last, a consistency proof from there, the signed checkpoint.
The witness answers with a cosignature line, or with 409 and its size. Pure functions; who sends and who keeps is not
known here.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from compliance.proof import base64_text, merkle, note
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier
from compliance.proof.strict_json import MAX_INTEGER

ADD_CHECKPOINT: Final = "add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
MAX_PROOF_LINES: Final = 63
MAX_REQUEST_BYTES: Final = 256 * 1024  # 63 proof lines and a note with a hundred post-quantum lines take less
MAX_ANSWER_BYTES: Final = 64 * 1024  # a witness with several keys answers a few lines
MAX_CLOCK_DIFFERENCE_SECONDS: Final = 300  # beyond it one of the two clocks is wrong, or the answer is an old one

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of a request. `checkpoint` is the signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: str

    def to_bytes(self) -> bytes:
        """The body."""
        lines = "".join(f"{base64_text.encode(item)}\n" for item in self.proof)
        return f"old {self.old_size}\n{lines}\n{self.checkpoint}".encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> "AddCheckpoint":
        """The request in `body`. Raises ProofError `witness.form`: a witness answers 400."""
        if len(body) > MAX_REQUEST_BYTES:
            raise ProofError("witness.form", f"a request over {MAX_REQUEST_BYTES} bytes")
        try:
            head, blank, checkpoint = body.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError:
            raise ProofError("witness.form", "not UTF-8") from None
        lines = head.split("\n")
        if not blank or not lines[0].startswith("old "):
            raise ProofError(
                "witness.form", "a request is a line `old <size>`, proof lines, a blank line, a checkpoint"
            )
        old_size = _size(lines[0].removeprefix("old "))
        if len(lines) - 1 > MAX_PROOF_LINES:
            raise ProofError("witness.form", f"{len(lines) - 1} proof lines; there are at most {MAX_PROOF_LINES}")
        proof = [base64_text.decode(line) for line in lines[1:]]
        if any(item is None or len(item) != merkle.HASH_BYTES for item in proof):
            raise ProofError("witness.form", "a proof line is not base64 of 32 bytes")
        return cls(old_size, tuple(item for item in proof if item), checkpoint)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A line that verified, with its newline, and the posix time that it states."""

    line: str
    time: int


def read_cosignature(answer: bytes, text: str, witness: NoteVerifier) -> Cosignature:
    """The line of `witness` for the checkpoint `text` in a 200 answer; lines of others are passed over.

    Raises ProofError `note.form`, `note.unknown_key`, `note.signature`.
    """
    try:
        lines = answer.decode("utf-8")
    except UnicodeDecodeError:
        raise ProofError("note.form", "the answer is not UTF-8") from None
    cosigned = f"{text}\n{lines}"
    verified = note.open_note(cosigned, [witness]).verified_by(witness)
    if verified is None or verified.time is None:
        raise ProofError("note.unknown_key", f"no cosignature of {witness.name}")
    return Cosignature(note.lines_of(cosigned, [witness])[0], verified.time)


def size_answer(size: int) -> bytes:
    """The body of a 409."""
    return f"{size}\n".encode()


def read_size(content_type: str, body: bytes) -> int:
    """The size that a 409 names. Raises ProofError `witness.form`."""
    if content_type.partition(";")[0].strip().lower() != SIZE_TYPE or not body.endswith(b"\n"):
        raise ProofError("witness.form", f"a 409 without a size as {SIZE_TYPE}")
    return _size(body[:-1].decode("ascii", "replace"))


def checkpoint_path(origin: str) -> str:
    """Where, below its prefix, a witness serves the checkpoint of `origin` that it cosigned last."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"


def add_lines(signed: str, lines: Sequence[str]) -> str:
    """The signed note with more signature lines, none twice."""
    return signed + "".join(line for line in dict.fromkeys(lines) if f"\n{line}" not in signed)


def _size(text: str) -> int:
    if _SIZE.fullmatch(text) is None or int(text) > MAX_INTEGER:
        raise ProofError("witness.form", f"{text[:40]!r} is no tree size (decimal, no leading zero)")
    return int(text)
