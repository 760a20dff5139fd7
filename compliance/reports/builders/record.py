"""What every report takes from the ledger: the checkpoint it stands on, and the proof of the chains it speaks of.

The proof bundle is made first, and the report stands on the checkpoint inside it. The bundle is then verified as a
stranger would verify it: a report on a record that does not verify is not made.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest

from django.conf import settings

from compliance.accounts import selectors as accounts
from compliance.accounts.roles import PLATFORM
from compliance.custody.models import Meter
from compliance.jobs import clock
from compliance.ledger import anchors, proofs, publish
from compliance.ledger import selectors as ledger
from compliance.ledger.integrate import integrate
from compliance.proof import bundle as bundle_format
from compliance.proof import entry as entries
from compliance.proof import note
from compliance.proof import subject as subjects
from compliance.proof.bundle import Bundle
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.steps import Step, Verdict
from compliance.proof.trust import TrustFolder
from compliance.proof.verify_bundle import verify_bundle
from compliance.reports.facts import CheckpointFacts, InclusionFacts

SAMPLE_SIZE = 20  # meters; with their chains some 2 MB of proof inside the PDF
NOBODY = "\N{EN DASH}"
LONGEST_STAMPING_SECONDS = 60  # a report waits for a backlog of minutes; after a longer one it has no token yet
TRIES = 5  # a busy log may publish between the choice and the proof


class RecordBroken(Exception):
    """The record's own proof does not verify. Run `manage.py fsck`."""


@dataclass(frozen=True, slots=True)
class Proven:
    """Chains with their proof, verified, and the checkpoint they are proven under."""

    bundle: bytes
    checkpoint: CheckpointFacts
    heads: dict[str, InclusionFacts]  # the last entry of each chain in the bundle


def prove(choose: Callable[[bytes], Sequence[str]]) -> Proven:
    """The proof of the chains that `choose` picks, given the root of the checkpoint they are proven under.

    Raises RecordBroken, NotYetIncluded.
    """
    integrate()
    publish.publish()
    anchors.catch_up(LONGEST_STAMPING_SECONDS)
    for _ in range(TRIES):
        latest = ledger.latest_checkpoint()
        if latest is None:
            break
        made = proofs.proof_bundle(sorted(choose(latest.root)))
        read = bundle_format.read(made)
        if read.checkpoint == latest.note:
            _require_verified(made)
            published_at = latest.published_at or clock.now()
            return Proven(made, _checkpoint(latest.note, published_at, read.time_tokens), _heads(read))
    raise proofs.NotYetIncluded("the log is published faster than a proof can be made; try again")


def sample_of_meters(root: bytes) -> list[str]:
    """SAMPLE_SIZE meters that the checkpoint's root draws: those whose name, hashed with it, comes first."""

    def rank(subject: str) -> bytes:
        return hashlib.sha256(root + subject.encode()).digest()

    return nsmallest(SAMPLE_SIZE, Meter.objects.values_list("subject", flat=True).iterator(), key=rank)


def operator_subjects() -> list[str]:
    """The chains of the log itself and of its operator."""
    return [subjects.log(settings.METERPROOF["ORIGIN"]), subjects.organisation(PLATFORM)]


def organisation_name(identifier: str) -> str:
    """The registered name of an organisation, or its id while there is none; a dash for nobody."""
    found = accounts.organisation(identifier) if identifier else None
    return found.name if found is not None else identifier or NOBODY


def _require_verified(made: bytes) -> None:
    trust = TrustFolder.load(settings.METERPROOF["TRUST_DIR"])
    try:
        verify_bundle(made, trust, Verdict("bundle"), Step("The proof"))
    except ProofError as error:
        raise RecordBroken(f"the record does not verify: {error}") from error


def _checkpoint(text: str, published_at: datetime, tokens: Sequence[bytes]) -> CheckpointFacts:
    parsed = Checkpoint.from_text(note.split(text)[0])
    stamped_at = anchors.verify(tokens[0], text).time if tokens else None
    return CheckpointFacts(parsed.origin, parsed.size, parsed.root.hex(), published_at, text, stamped_at)


def _heads(bundle: Bundle) -> dict[str, InclusionFacts]:
    heads: dict[str, InclusionFacts] = {}
    for item in bundle.entries:
        if item.entry is not None:
            value = entries.read(item.entry)
            subject, seq = str(value["subject"]), int(value["seq"])
            if subject not in heads or heads[subject].seq < seq:
                heads[subject] = InclusionFacts(seq, item.hash.hex(), item.leaf, len(item.path))
    return heads
