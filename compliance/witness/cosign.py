"""The decision of a witness: `add-checkpoint` of C2SP tlog-witness, without HTTP.

Checks in the order of the text: form 400, log known 404, log's signature 403, sizes 400 and 409, consistency 422. A
checkpoint of the size cosigned last with another root is refused with 422, as version 1.1.0 of the text has it.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compliance.jobs.failpoints import reach
from compliance.proof import merkle, note, witness_protocol
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import TYPE_COSIGNATURE, NoteSigner, NoteVerifier
from compliance.proof.witness_protocol import SIZE_TYPE, AddCheckpoint
from compliance.witness import evidence
from compliance.witness.store import Cosigned, Decision, WitnessStore

logger = logging.getLogger(__name__)

TEXT: Final = "text/plain; charset=utf-8"
RETRY_AFTER_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = field(default=())


class _Refused(Exception):
    """Ends a decision without a signature."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Witness:
    """One witness: its key, its memory, its folder of evidence."""

    def __init__(
        self,
        signer: NoteSigner,
        store: WitnessStore,
        evidence_folder: Path,
        *,
        read_clock: Callable[[], float] = time.time,
    ) -> None:
        if signer.type != TYPE_COSIGNATURE:
            raise ValueError("a witness signs cosignatures")
        self._signer = signer
        self._store = store
        self._evidence = evidence_folder
        self._read_clock = read_clock

    def checkpoint_at(self, path: str) -> str | None:
        """The note cosigned last of the log whose `<hash>/checkpoint` is `path`."""
        for origin in self._store.origins():
            if witness_protocol.checkpoint_path(origin) == path:
                last = self._store.cosigned(origin)
                return last.note if last else None
        return None

    def add_checkpoint(self, body: bytes) -> Answer:
        """Decide on the request in `body`. What is cosigned is on the disk when this returns."""
        try:
            request = AddCheckpoint.from_bytes(body)
            text = note.split(request.checkpoint)[0]
            checkpoint = Checkpoint.from_extended_text(text)
        except ProofError as error:
            return _no(400, str(error))
        try:
            verifiers = [NoteVerifier.from_vkey(vkey) for vkey in self._store.log_keys(checkpoint.origin)]
            if not verifiers:
                return _no(404, f"the log {checkpoint.origin} is not known here")
            try:
                opened = note.open_note(request.checkpoint, verifiers)
            except ProofError as error:
                return _no(403, str(error))
            if request.old_size > checkpoint.size:
                return _no(400, f"the old size {request.old_size} is larger than {checkpoint.size}")
            signed = f"{text}\n" + "".join(
                note.lines_of(request.checkpoint, [line.verifier for line in opened.verified])
            )
            with self._store.deciding(checkpoint.origin) as decision:
                line = self._decide(decision, request, checkpoint, signed, body)
        except _Refused as refused:
            return refused.answer
        except (sqlite3.OperationalError, OSError):  # a full disk, say: of the memory, or of the evidence
            logger.exception("store or evidence cannot be written")
            return _no(503, "the witness cannot store what it decides", (("Retry-After", str(RETRY_AFTER_SECONDS)),))
        reach("witness.persisted")
        return Answer(200, line.encode())

    def _decide(
        self, decision: Decision, request: AddCheckpoint, checkpoint: Checkpoint, signed: str, body: bytes
    ) -> str:
        last = decision.last
        now = int(self._read_clock())
        size = last.size if last else 0
        forked = None
        if last is not None and last.size == checkpoint.size and last.root != checkpoint.root:
            # Proof of two histories, whatever old size came with it: kept before the size is answered.
            forked = self._contradiction(evidence.FORK, "this size was cosigned with another root", request, last, body)
        if request.old_size != size:
            raise _Refused(Answer(409, witness_protocol.size_answer(size), SIZE_TYPE))
        if forked is not None:
            raise forked
        try:
            merkle.verify_consistency(
                first_size=size,
                second_size=checkpoint.size,
                first_root=last.root if last else merkle.EMPTY_ROOT,
                second_root=checkpoint.root,
                path=request.proof,
            )
        except ProofError as error:
            if last is None:
                raise _Refused(_no(422, str(error))) from None
            raise self._contradiction(evidence.UNPROVEN, error.detail, request, last, body) from None
        if last is not None and now < last.time:
            logger.error(
                "the clock is behind the last cosignature by %d seconds: mend it, or if it is right now, say so with: "
                "witness accept-clock",
                last.time - now,
            )
            raise _Refused(_no(503, "the clock of the witness went back", (("Retry-After", str(RETRY_AFTER_SECONDS)),)))
        line = self._signer.line(note.split(signed)[0], time=now)
        reach("witness.signed")
        decision.keep(Cosigned(checkpoint.origin, checkpoint.size, checkpoint.root, signed + line, now))
        return line

    def _contradiction(self, kind: str, why: str, request: AddCheckpoint, last: Cosigned, body: bytes) -> _Refused:
        kept = evidence.keep(
            self._evidence,
            kind=kind,
            refused=request.checkpoint,
            request=body,
            last=last,
            why=why,
            at=int(self._read_clock()),
        )
        logger.critical("refused a checkpoint of %s: %s. Evidence: %s", last.origin, why, kept)
        return _Refused(_no(422, why))


def _no(status: int, why: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, f"{why}\n".encode(), TEXT, headers)
