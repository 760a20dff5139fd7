"""Writes of checks: keep what was seen, tell it to the log, run everything, close a finding."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from compliance.accounts import policy
from compliance.accounts.models import Person
from compliance.accounts.policy import SYSTEM, Actor
from compliance.checks import sweep
from compliance.checks.models import (
    MAX_DETAIL,
    MAX_METERS,
    CheckResult,
    CheckRun,
    Finding,
    FindingState,
    Resolution,
    Suspicion,
)
from compliance.checks.sweep import MAX_REASONS, Progress, Swept
from compliance.jobs import actions as jobs
from compliance.jobs import clock, failpoints
from compliance.jobs.models import Job
from compliance.ledger import platform_log
from compliance.ledger import selectors as ledger
from compliance.ledger.errors import Refused
from compliance.ledger.models import LogState
from compliance.ledger.transactions import unit_of_work
from compliance.proof import canonical
from compliance.proof.subject import key_of

SWEEP = "checks.sweep"
TELL = "checks.tell"
AT_ONCE = 200  # findings told in one batch: small enough for one transaction, large enough for a bad day
MAX_REASON_CHARACTERS = 2_000


def finding_id(*, detector: str, version: int, subject: str, seq: int, about: str) -> str:
    """The one id of a deviation, whoever sees it: a digest of check, version, entry and thing."""
    said = canonical.encode([detector, version, subject, seq, about])
    return f"fnd_{hashlib.sha256(said).hexdigest()[:32]}"


def suspect(deviations: Iterable[sweep.Deviation]) -> int:
    """Keep what is new among `deviations`, in the caller's transaction, and see that it is told. Returns how many."""
    seen = {suspicion.id: suspicion for suspicion in map(_suspicion, deviations)}
    known = set(Finding.objects.filter(pk__in=seen).values_list("pk", flat=True))
    known |= set(Suspicion.objects.filter(pk__in=seen).values_list("pk", flat=True))
    new = [suspicion for id_, suspicion in seen.items() if id_ not in known]
    if new:
        Suspicion.objects.bulk_create(new, ignore_conflicts=True)
        jobs.enqueue(TELL, {}, dedupe_key="all")
    return len(new)


@unit_of_work()
def tell(limit: int = AT_ONCE) -> int:
    """Open findings in the log for suspicions whose entries have their place there.

    Returns how many were dealt with.
    """
    waiting = list(Suspicion.objects.select_for_update().order_by("id")[: limit * 2])
    placed = [suspicion for suspicion in waiting if _place(suspicion)][:limit]
    if not placed:
        return 0
    told = set(Finding.objects.filter(pk__in=[each.pk for each in placed]).values_list("pk", flat=True))
    with platform_log.platform_batch(actor=SYSTEM.actor) as log:
        for suspicion in placed:
            if suspicion.pk not in told:
                log.record(suspicion.chain, "check.finding_opened", _opening(suspicion))
    failpoints.reach("checks.told")
    Suspicion.objects.filter(pk__in=[each.pk for each in placed]).delete()
    return len(placed)


def run(*, size: int | None = None, progress: Progress | None = None) -> CheckRun:
    """Read the log through every check, up to `size` or as far as it is integrated, and keep what was seen."""
    started = clock.now()
    state = LogState.objects.filter(id=1).first()
    whole = state.size if state else 0
    size = whole if size is None else min(size, whole)
    swept = sweep.sweep(size, progress=progress)
    root = state.root.hex() if state is not None and size == whole else ""
    return _keep_run(swept, root=root, started=started)


@unit_of_work()
def _keep_run(swept: Swept, *, root: str, started: Any) -> CheckRun:
    kept = CheckRun.objects.create(
        log_size=swept.size,
        root=root,
        log_time=swept.time,
        started_at=started,
        ran_at=clock.now(),
        redacted=swept.redacted,
    )
    CheckResult.objects.bulk_create(
        CheckResult(
            run=kept,
            detector=tally.check.id,
            name=tally.check.name,
            version=tally.check.version,
            parameters=dict(tally.check.parameters),
            population=tally.population,
            deviations=len(tally.deviations),
            not_evaluable=tally.not_evaluable,
            reasons=[{"reason": reason, "count": count} for reason, count in tally.reasons.most_common(MAX_REASONS)],
            digest=tally.digest,
        )
        for tally in swept.tallies
    )
    suspect(swept.deviations)
    return kept


def request_run(*, by: Actor) -> Job:
    """Queue a run of all checks. Raises NotAllowed."""
    policy.require(by, "check.run")
    return jobs.enqueue(SWEEP, {}, dedupe_key="all")


@unit_of_work()
def close_finding(*, finding: Finding, by: Person, resolution: str, reason: str) -> Finding:
    """Close `finding` for good; it stays in every report of its time.

    Raises NotAllowed, or Refused without a reason.
    """
    if resolution not in Resolution.values:
        raise Refused(
            "finding.resolution", f"a finding is closed as {', '.join(Resolution.values)}", pointer="/resolution"
        )
    if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS or "\0" in reason:
        raise Refused(
            "finding.reason", f"a decision needs its reason, in {MAX_REASON_CHARACTERS} characters", pointer="/reason"
        )
    policy.require(by, "finding.close")
    locked = Finding.objects.select_for_update().get(pk=finding.pk)
    if locked.state != FindingState.OPEN:
        raise Refused("finding.state", "the finding is closed already")
    policy.require(by, "finding.close", locked)
    with platform_log.platform_batch(actor=by.actor) as log:
        data = {"resolution": resolution, "reason": reason.strip()}
        log.record(locked.chain, "check.finding_closed", data)
    locked.refresh_from_db()
    return locked


def _suspicion(deviation: sweep.Deviation) -> Suspicion:
    check, step, verdict = deviation.check, deviation.step, deviation.verdict
    meters = _meters(deviation)
    return Suspicion(
        id=finding_id(
            detector=check.id, version=check.version, subject=step.subject, seq=step.seq, about=verdict.about
        ),
        detector=check.id,
        version=check.version,
        parameters=dict(check.parameters),
        severity=check.severity,
        subject=step.subject,
        subject_key=key_of(step.subject),
        seq=step.seq,
        hash=step.told.hash,
        event_type=step.type,
        author=step.author,
        about=verdict.about,
        detail=verdict.detail[:MAX_DETAIL],
        meters=meters[:MAX_METERS],
        meter_count=len(meters),
        log_size=deviation.log_size,
    )


def _meters(deviation: sweep.Deviation) -> list[str]:
    """The meters concerned: the chain's own first."""
    own = [each for each in (deviation.step.subject, deviation.verdict.about) if each.startswith("meter:")]
    return list(dict.fromkeys([*own, *deviation.verdict.meters]))


def _place(suspicion: Suspicion) -> bool:
    """Whether its entry has its place in the log; sets `log_size` when it was not known."""
    if suspicion.log_size is None:
        leaf = ledger.leaf_index(suspicion.subject, suspicion.seq)
        suspicion.log_size = None if leaf is None else leaf + 1
    return suspicion.log_size is not None


def _opening(suspicion: Suspicion) -> Mapping[str, Any]:
    """The data of `check.finding_opened`."""
    return {
        "detector": suspicion.detector,
        "version": suspicion.version,
        "parameters": suspicion.parameters,
        "severity": suspicion.severity,
        "log_size": suspicion.log_size,
        "entry": {
            "subject": suspicion.subject,
            "seq": suspicion.seq,
            "hash": suspicion.hash.hex(),
            "type": suspicion.event_type,
            "author": suspicion.author,
        },
        "about": suspicion.about or None,
        "detail": suspicion.detail,
        "meters": suspicion.meters,
        "meter_count": suspicion.meter_count,
    }
