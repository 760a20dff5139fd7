"""Writes to evidence: submit, accept, return, supersede. Each one moves the rows and the log in one transaction."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from compliance.accounts import policy
from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.evidence import intake, storage
from compliance.evidence.errors import BlobDamaged, BlobMissing, IntakeRefused, WrongState
from compliance.evidence.intake import IncomingFile, TakenFile
from compliance.evidence.manifest import Manifest, log_data, log_files, manifest_of
from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink, LinkKind, State
from compliance.jobs import clock, failpoints
from compliance.ledger import platform_log
from compliance.ledger.transactions import unit_of_work
from compliance.proof.errors import ProofError
from compliance.proof.subject import parse as parse_subject

MAX_FILES = 50  # what an event's `evidence` member can name
MAX_LINKS = 200  # a reviewer must be able to read them
MAX_REASON_CHARACTERS = 2_000
CLOCK_SKEW = timedelta(minutes=5)  # a sender's clock may run ahead by this much

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_REQUIREMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}:[^\s:][^\s]{0,63}")


def submit_evidence(
    *,
    by: Person | ApiKey,
    organisation: Organisation,
    title: str,
    kind: str,
    files: Sequence[IncomingFile],
    covers_from: datetime,
    covers_to: datetime,
    produced_at: datetime,
    links: Sequence[tuple[str, str]],
) -> Evidence:
    """Take in `files` as one evidence item of `organisation`, open for review. `links` are (kind, reference).

    The same item sent again gives the first one, so a retry is safe. Raises NotAllowed, or IntakeRefused for a file or
    a statement that cannot be taken; then nothing is recorded.
    """
    policy.require(by, "evidence.submit", organisation)
    _check_statement(title, kind, covers_from, covers_to, produced_at)
    _check_links(links)
    if not 1 <= len(files) <= MAX_FILES:
        raise IntakeRefused("evidence.files", f"evidence has 1 to {MAX_FILES} files, not {len(files)}")
    taken = tuple(intake.take_in(file) for file in files)
    if len({file.sha256 for file in taken}) < len(taken):
        raise IntakeRefused("evidence.files", "two of the files have the same content")
    manifest = Manifest(
        organisation=organisation.pk,
        kind=kind,
        title=title,
        covers_from=covers_from,
        covers_to=covers_to,
        produced_at=produced_at,
        files=taken,
        links=tuple(dict.fromkeys((str(kind), reference) for kind, reference in links)),
    )
    return _record(manifest, by=by, taken=taken)


@unit_of_work()
def _record(manifest: Manifest, *, by: Person | ApiKey, taken: Sequence[TakenFile]) -> Evidence:
    digest = manifest.digest
    same = Evidence.objects.filter(organisation_id=manifest.organisation, manifest_sha256=digest).exclude(
        state=State.RETURNED
    )
    if (existing := same.first()) is not None:
        return existing
    received_at = clock.now()
    with platform_log.platform_batch(actor=by.actor) as log:
        evidence = Evidence.objects.create(
            organisation_id=manifest.organisation,
            kind=manifest.kind,
            title=manifest.title,
            covers_from=manifest.covers_from,
            covers_to=manifest.covers_to,
            produced_at=manifest.produced_at,
            received_at=received_at,
            submitter=by if isinstance(by, Person) else None,
            submitted_with=by if isinstance(by, ApiKey) else None,
            manifest_sha256=digest,
        )
        EvidenceFile.objects.bulk_create(
            EvidenceFile(
                evidence=evidence,
                position=position,
                sha256=file.sha256,
                size=file.size,
                media_type=file.media_type,
                name=file.name,
                flags=list(file.flags),
            )
            for position, file in enumerate(taken)
        )
        EvidenceLink.objects.bulk_create(
            EvidenceLink(evidence=evidence, kind=kind, reference=reference) for kind, reference in manifest.links
        )
        Evidence.objects.all().move(evidence.pk, start=State.RECEIVED, end=State.SUBMITTED)
        log.record(
            evidence.subject,
            "evidence.received",
            log_data(manifest, submitter=by.actor),
            occurred_at=received_at,
            evidence=log_files(taken),
        )
        failpoints.reach("evidence.recorded")
    evidence.refresh_from_db()
    return evidence


@unit_of_work()
def accept_evidence(*, evidence: Evidence, reviewer: Person, reason: str) -> Evidence:
    """Accept `evidence` for the record. From here on neither its files nor its links can change, and it cannot go.

    Raises NotAllowed if `reviewer` may not review or belongs to whoever submitted it (separation of duties), WrongState
    unless it waits for review, BlobMissing or BlobDamaged if its bytes are not what was submitted.
    """
    locked = _locked_for_review(evidence, reviewer, "evidence.accept")
    for file in locked.files.all():
        match file.condition():
            case storage.Condition.MISSING:
                raise BlobMissing(file.sha256)
            case storage.Condition.DAMAGED:
                raise BlobDamaged(file.sha256)
    if manifest_of(locked).digest != locked.manifest_sha256:
        raise WrongState("what is stored about this evidence is not what was received; run manage.py fsck")
    return _decide(locked, reviewer, State.ACCEPTED, "evidence.accepted", reason)


@unit_of_work()
def return_evidence(*, evidence: Evidence, reviewer: Person, reason: str) -> Evidence:
    """Send `evidence` back to whoever submitted it, with the reason. Raises as `accept_evidence`."""
    locked = _locked_for_review(evidence, reviewer, "evidence.return")
    return _decide(locked, reviewer, State.RETURNED, "evidence.returned", reason)


@unit_of_work()
def supersede_evidence(*, evidence: Evidence, successor: Evidence, reviewer: Person, reason: str) -> Evidence:
    """Let the accepted `successor` stand in for the accepted `evidence`, which stays readable.

    Raises as `accept_evidence`.
    """
    _check_reason(reason)
    policy.require(reviewer, "evidence.accept")
    locked, successor = _locked(evidence), _locked(successor)
    _check_duties(locked, reviewer)
    if locked.state != State.ACCEPTED or successor.state != State.ACCEPTED or successor.pk == locked.pk:
        raise WrongState("only accepted evidence can be superseded, and only by other accepted evidence")
    if successor.organisation_id != locked.organisation_id:
        raise WrongState("evidence is superseded by evidence of the same organisation")
    with platform_log.platform_batch(actor=reviewer.actor) as log:
        Evidence.objects.all().move(
            locked.pk, start=State.ACCEPTED, end=State.SUPERSEDED, superseded_by_id=successor.pk
        )
        log.record(locked.subject, "evidence.superseded", {"by": successor.subject, "reason": reason.strip()})
    locked.refresh_from_db()
    return locked


def _locked(evidence: Evidence) -> Evidence:
    locked: Evidence = Evidence.objects.select_for_update().get(pk=evidence.pk)
    return locked


def _locked_for_review(evidence: Evidence, reviewer: Person, action: str) -> Evidence:
    policy.require(reviewer, action)
    locked = _locked(evidence)
    _check_duties(locked, reviewer)
    if locked.state != State.SUBMITTED:
        raise WrongState(f"this evidence is {State(locked.state).label.lower()}; only submitted evidence is reviewed")
    policy.require(reviewer, action, locked)
    return locked


def _check_duties(evidence: Evidence, reviewer: Person) -> None:
    """Separation of duties: nobody reviews what he, or an organisation he acts for, handed in."""
    own = {organisation.pk for organisation in reviewer.organisations}
    if evidence.submitter_id == reviewer.pk or evidence.organisation_id in own:
        raise policy.NotAllowed("evidence.accept")


def _decide(evidence: Evidence, reviewer: Person, end: State, event_type: str, reason: str) -> Evidence:
    _check_reason(reason)
    decided_at = clock.now()
    with platform_log.platform_batch(actor=reviewer.actor) as log:
        Evidence.objects.all().move(
            evidence.pk,
            start=State.SUBMITTED,
            end=end,
            decided_by_id=reviewer.pk,
            decided_at=decided_at,
            reason=reason.strip(),
        )
        log.record(
            evidence.subject,
            event_type,
            {"manifest_sha256": evidence.manifest_sha256, "reason": reason.strip()},
            occurred_at=decided_at,
        )
    evidence.refresh_from_db()
    return evidence


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise IntakeRefused("evidence.reason", "a decision needs its reason")
    if len(reason) > MAX_REASON_CHARACTERS or "\0" in reason:
        raise IntakeRefused("evidence.reason", f"the reason may have {MAX_REASON_CHARACTERS} characters")


def _check_statement(title: str, kind: str, covers_from: datetime, covers_to: datetime, produced_at: datetime) -> None:
    if not title.strip() or len(title) > 200 or any(ord(letter) < 32 for letter in title):
        raise IntakeRefused("evidence.title", "the title must be one line of 1 to 200 characters")
    if not _KIND.fullmatch(kind):
        raise IntakeRefused("evidence.kind", "the kind must be a word of lower-case letters, digits and underscores")
    if covers_to < covers_from:
        raise IntakeRefused("evidence.period", "the period covered ends before it begins")
    if produced_at > clock.now() + CLOCK_SKEW:
        raise IntakeRefused("evidence.produced", "the evidence cannot have been produced in the future")


def _check_links(links: Sequence[tuple[str, str]]) -> None:
    if len(links) > MAX_LINKS:
        raise IntakeRefused("evidence.link", f"evidence has at most {MAX_LINKS} links")
    for kind, reference in links:
        if kind not in LinkKind.values:
            raise IntakeRefused("evidence.link", f"`{kind}` is none of {', '.join(LinkKind.values)}")
        if kind == LinkKind.REQUIREMENT:
            if not _REQUIREMENT.fullmatch(reference):
                raise IntakeRefused("evidence.link", f"`{reference}` is not of the form <framework>:<requirement>")
        elif kind == LinkKind.CONTROL:
            if not 1 <= len(reference) <= 200 or any(ord(letter) < 32 for letter in reference):
                raise IntakeRefused("evidence.link", "a control is named by 1 to 200 characters")
        else:
            try:
                subject = parse_subject(reference)
            except ProofError as problem:
                raise IntakeRefused("evidence.link", f"`{reference}` is not a subject: {problem.detail}") from problem
            if subject.kind != kind:
                raise IntakeRefused("evidence.link", f"`{reference}` is not a {kind}")
