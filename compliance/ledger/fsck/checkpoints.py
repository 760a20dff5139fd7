"""One stored checkpoint: its signatures, and what it says beside its row and the tree."""

from collections.abc import Sequence

from django.conf import settings

from compliance.ledger import mirror, post_quantum_key, witnesses
from compliance.ledger.fsck.problems import FsckResult
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.note import NoteVerifier


def signed_root(
    result: FsckResult, row: CheckpointRow, *, size: int, log_keys: LogKeys, cosigners: Sequence[NoteVerifier]
) -> bytes:
    """The root that the note in `row` signs, to be compared with the tree that has reached `size`. Nothing if there is
    no such root; then what is wrong is noted.
    """
    where = f"checkpoint {row.size}"
    try:
        opened = note.open_note(row.note, log_keys.verifiers_at(row.size))
        checkpoint = Checkpoint.from_text(opened.text)
        check_lines(row.note, [*log_keys.verifiers, *cosigners])
    except ProofError as error:
        result.add(error.code, where, error.detail)
        return b""
    if checkpoint.origin != settings.METERPROOF["ORIGIN"]:
        result.add("checkpoint.origin", where, f"it is of the log {checkpoint.origin}")
    if checkpoint.size != row.size:
        result.add("checkpoint.size", where, f"the note is over {checkpoint.size} entries")
    elif size != row.size:
        result.add("checkpoint.size", where, "no batch ends at this size")
    else:
        return checkpoint.root
    return b""


def known_cosigners() -> list[NoteVerifier]:
    """Whose lines may stand beside those of the log's keys: witnesses that were asked, the log's post-quantum key."""
    return [*witnesses.known_verifiers(), *post_quantum_key.verifiers()]


def check_lines(text: str, known: Sequence[NoteVerifier]) -> None:
    """Each line is of one of the `known` keys, and verifies. Raises ProofError.

    A mirror never asked anybody: there, lines of keys it does not know are passed over.
    """
    named = {(verifier.name, verifier.id): verifier for verifier in known}
    for name, id_, _ in note.split(text)[1]:
        if (name, id_) not in named:
            if mirror.is_mirror():
                continue
            raise ProofError("note.unknown_key", f"a line of {name}, with a key that nobody asked")
        note.open_note(text, [named[name, id_]])
