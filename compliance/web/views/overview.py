"""The overview: whether the ledger holds, where the meters are, how far requirements are supported, what waits."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from compliance.accounts import policy
from compliance.checks.models import FindingState
from compliance.checks.selectors import findings_visible_to
from compliance.custody import selectors as custody
from compliance.evidence import selectors as evidence
from compliance.frameworks import selectors as frameworks
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier, open_note
from compliance.web import charts, words
from compliance.web.reader import reader
from compliance.web.time_stamp import time_stamp
from compliance.web.trust import trust_files
from compliance.web.views.findings import finding_row
from compliance.web.views.frameworks import summary

SHOWN = 5  # at most, then a link with the full count
FRAMEWORKS_SHOWN = ("iso27001-2022", "bsi-cc-pp-0073", "uk-cpa-sm")


@login_required
@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """The first page after signing in."""
    person: Any = reader(request)
    context: dict[str, Any] = {"now": clock.now(), "ledger": ledger_state(), "findings": None, "evidence": None}
    if policy.allows(person, "meter.read"):
        context |= _flow(person)
    if policy.allows(person, "coverage.read"):
        context["coverage"] = [summary(each) for each in frameworks.frameworks() if each.key in FRAMEWORKS_SHOWN]
    if policy.allows(person, "finding.read"):
        still_open = findings_visible_to(person).filter(state=FindingState.OPEN)
        context |= {"findings": [finding_row(each) for each in still_open[:SHOWN]], "open_findings": still_open.count()}
    if policy.allows(person, "evidence.read"):
        waiting = evidence.waiting_for_review(person)
        context |= {"evidence": waiting[:SHOWN], "evidence_count": waiting.count()}
    return render(request, "web/overview.html", context)


def ledger_state() -> dict[str, Any]:
    """What this server can say of its own ledger now: the latest checkpoint, checked with the published log key."""
    checkpoint = ledger.latest_checkpoint()
    if checkpoint is None:
        return {"tone": "warn", "icon": "rosette", "heading": "No checkpoint yet", "size": 0, "vouchers": []}
    problem = _problem(checkpoint.note)
    waiting, since = ledger.waiting()
    late = since is not None and since < clock.now() - _merge_delay()
    state = {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "signed_at": checkpoint.published_at,
        "waiting": waiting,
        "vouchers": [
            ("bad" if problem else "ok", "Operator's log key", ""),
            ("none", "No witness yet", ""),
            time_stamp(),
        ],
    }
    if problem:
        return {
            **state,
            "tone": "bad",
            "icon": "square-cross",
            "heading": "The ledger does not verify",
            "words": problem,
        }
    if late:
        said = "Events were recorded that should be under a checkpoint by now. Tell the operator; they are not lost."
        return {
            **state,
            "tone": "warn",
            "icon": "triangle",
            "heading": "The ledger is consistent, but late",
            "words": said,
        }
    said = "Each checkpoint was proven to extend the one before it when it was signed."
    return {**state, "tone": "ok", "icon": "rosette", "heading": "The ledger is consistent", "words": said}


def _problem(note: str) -> str:
    """Why the checkpoint does not verify with the published log key, or nothing."""
    try:
        verifier = NoteVerifier.from_vkey(trust_files().get("vkey", "").strip())
        Checkpoint.from_text(open_note(note, [verifier]).text)
    except ProofError as error:
        return f"The latest checkpoint does not verify with the published log key: {error.detail}."
    return ""


def _merge_delay() -> timedelta:
    return timedelta(seconds=settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"])


def _flow(person: Any) -> dict[str, Any]:
    """Meters by custody phase: how many are there now, how many came this far, how many carry violations."""
    shared = custody.meters_shared_now(person)
    counted = (
        shared.order_by()
        .values("claimed_state")
        .annotate(number=Count("pk"), flagged=Count("pk", filter=Q(shown_violations__gt=0)))
    )
    now = {row["claimed_state"]: (row["number"], row["flagged"]) for row in counted}
    total, makers = shared.count(), shared.order_by().values("manufacturer").distinct().count()
    phases = [_phase(phase.name, phase.states, f"phase={phase.key}", now) for phase in words.PHASES]
    for place, phase in enumerate(phases):
        # Re-provisioned and decommissioned are places one may come to, not stages that all pass.
        beyond = phases[place:] if place < len(phases) - 2 else [phase]
        phase["reached"] = sum(each["count"] for each in beyond)
    off = [_phase(words.state(each), (each,), "phase=off-the-path", now) for each in words.OFF_THE_PATH]
    lede = f"{total:,} meter{'' if total == 1 else 's'} in custody, {makers} manufacturer{'' if makers == 1 else 's'}"
    return {
        "lede": lede,
        "flow": {
            "phases": phases,
            "off": off,
            "off_total": sum(each["count"] for each in off),
            "ribbon": charts.flow_ribbon([each["reached"] for each in phases], [each["violations"] for each in phases]),
        },
    }


def _phase(name: str, states: tuple[str, ...], query: str, now: dict[str, tuple[int, int]]) -> dict[str, Any]:
    count = sum(now.get(state, (0, 0))[0] for state in states)
    named = [f"{now[state][0]:,} {words.state(state).lower()}" for state in states if state in now]
    return {
        "name": name,
        "url": f"{reverse('web:meters')}?{query}",
        "count": count,
        "violations": sum(now.get(state, (0, 0))[1] for state in states),
        "note": ", ".join(named) if len(states) > 1 else "",
    }
