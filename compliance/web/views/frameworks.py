"""Frameworks with their coverage, the matrix of one, and one requirement with its reasons."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from compliance.accounts import policy
from compliance.checks import coverage
from compliance.checks.coverage import Coverage, Effect, Reason, RequirementCoverage, Status
from compliance.evidence.selectors import evidence_visible_to
from compliance.frameworks import selectors
from compliance.frameworks.models import Framework, Mapping, Relationship, Requirement, Verification
from compliance.jobs import clock
from compliance.web import charts, words
from compliance.web.charts import Share
from compliance.web.reader import reader

# Which relationship carries support to the other end, and what the page says of it.
CARRIES = {
    Relationship.EQUAL: "Yes, both ways",
    Relationship.SUPERSET_OF: "Yes, from the one that contains",
    Relationship.SUBSET_OF: "Contributes only",
    Relationship.INTERSECTS_WITH: "Contributes only",
    Relationship.SUPPORTS: "Contributes only",
    Relationship.MITIGATED_BY: "No",
    Relationship.APPLIES_IN_PHASE: "No",
}
FILLS = (
    (Status.SUPPORTED, "f-h4", "supported"),
    (Status.CONTRIBUTING, "f-h2", "with contributions only"),
    (Status.CONTRADICTED, "f-bad", "contradicted"),
    (Status.NONE, "f-mute", "without evidence"),
)
UNVERIFIED = {
    Verification.PARTIAL: "partly verified",
    Verification.RECALLED: "from memory",
    Verification.UNVERIFIED_THEME: "editorial theme",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix: how many reasons of one kind, and which way they point."""

    count: int
    css: str
    mark: str
    words: str
    anchor: str


@login_required
@require_GET
def frameworks(request: HttpRequest) -> HttpResponse:
    """Every requirement set with its coverage."""
    rows = [summary(each) for each in selectors.frameworks()] if _may_see_coverage(request) else []
    return render(request, "web/frameworks.html", {"frameworks": rows, "now": clock.now()})


@login_required
@require_GET
def framework(request: HttpRequest, key: str) -> HttpResponse:
    """The matrix of one requirement set: reasons by kind for each requirement, in its publisher's order."""
    found = _framework(key)
    _require_coverage(request)
    computed = coverage.compute(key)
    view = request.GET.get("view", "")
    chosen = [each for each in computed.requirements if _in_view(each, view)]
    counts = Counter(each.status for each in computed.requirements)
    gaps = sum(_in_view(each, "gaps") for each in computed.requirements)
    context_items = counts[Status.NOT_ASSESSABLE]
    return render(
        request,
        "web/framework.html",
        {
            "framework": found,
            "now": clock.now(),
            "supported": counts[Status.SUPPORTED],
            "assessable": len(computed.requirements) - context_items,
            "views": [
                ("Assessable", "?", len(computed.requirements) - context_items, view not in {"gaps", "all"}),
                ("Gaps only", "?view=gaps", gaps, view == "gaps"),
                ("Everything", "?view=all", len(computed.requirements), view == "all"),
            ],
            "groups": _groups(chosen),
            "totals": [(*words.COVERAGE[status], counts[status]) for status in Status],
            "bar": _bar(found, counts),
            "may_report": policy.allows(reader(request), "report.request"),
        },
    )


@login_required
@require_GET
def requirement(request: HttpRequest, key: str, ref: str) -> HttpResponse:
    """One requirement: automatic tests, evidence, mappings, and why its coverage is what it is."""
    try:
        found = selectors.requirement(f"{key}:{ref}")
    except Requirement.DoesNotExist as missing:
        raise Http404 from missing
    computed = _of(coverage.compute(key), found) if _may_see_coverage(request) else None
    reasons: Sequence[Reason] = computed.reasons if computed else ()
    linked = evidence_visible_to(reader(request)).filter(links__kind="requirement", links__reference=found.reference)
    return render(
        request,
        "web/requirement.html",
        {
            "framework": found.framework,
            "requirement": found,
            "status": words.COVERAGE[computed.status] if computed else None,
            "checks": [_check(reason) for reason in reasons if reason.kind == "check"],
            "reasons": reasons,
            "evidence": [{"evidence": each, "review": words.REVIEW[each.state]} for each in linked],
            "mappings": [_mapping(each, found) for each in selectors.mappings_of(found)],
            "verification": words.VERIFICATION[found.verification],
        },
    )


def summary(framework: Framework) -> dict[str, Any]:
    """One requirement set as a line: its bar, and the bar in words."""
    counts = Counter(each.status for each in coverage.compute(framework.key).requirements)
    assessable = sum(counts.values()) - counts[Status.NOT_ASSESSABLE]
    said = [f"{counts[status]:,} {said}" for status, _, said in FILLS if counts[status]]
    return {
        "framework": framework,
        "short": words.short_title(framework.key, framework.title),
        "bar": _bar(framework, counts),
        "supported": counts[Status.SUPPORTED],
        "assessable": assessable,
        "words": ", ".join(said) or "nothing to assess",
    }


def _bar(framework: Framework, counts: Counter[Status]) -> str:
    return charts.share_bar([Share(counts[status], fill, said) for status, fill, said in FILLS], label=framework.title)


def _framework(key: str) -> Framework:
    try:
        return selectors.framework(key)
    except Framework.DoesNotExist as missing:
        raise Http404 from missing


def _may_see_coverage(request: HttpRequest) -> bool:
    return policy.allows(reader(request), "coverage.read")


def _require_coverage(request: HttpRequest) -> None:
    if not _may_see_coverage(request):
        raise PermissionDenied


def _in_view(each: RequirementCoverage, view: str) -> bool:
    if view == "all":
        return True
    if view == "gaps":
        return each.status in {Status.NONE, Status.CONTRIBUTING, Status.CONTRADICTED}
    return each.status is not Status.NOT_ASSESSABLE


def _groups(rows: Iterable[RequirementCoverage]) -> list[dict[str, Any]]:
    return [
        {"title": group.title, "rows": [_row(each) for each in members]}
        for group, members in groupby(rows, key=lambda each: each.requirement.group)
    ]


def _row(each: RequirementCoverage) -> dict[str, Any]:
    found = each.requirement
    return {
        "requirement": found,
        "url": reverse("web:requirement", args=[found.framework.key, found.ref]),
        "status": words.COVERAGE[each.status],
        "unverified": UNVERIFIED.get(Verification(found.verification), ""),
        "cells": [_cell(each.reasons, kind) for kind in ("evidence", "check", "mapping")],
    }


def _cell(reasons: Sequence[Reason], kind: str) -> Cell:
    found = [reason for reason in reasons if reason.kind == kind]
    against = [reason for reason in found if reason.effect is Effect.CONTRADICTS]
    if against:
        return Cell(len(found), "cx", "■", f"reasons, {len(against)} of them against,", kind)
    if any(reason.effect is Effect.SUPPORTS for reason in found):
        return Cell(len(found), "c4", "", "supporting reasons", kind)
    return Cell(len(found), "c2", "", "contributing reasons", kind)


def _of(computed: Coverage, found: Requirement) -> RequirementCoverage | None:
    return next((each for each in computed.requirements if each.requirement.pk == found.pk), None)


def _check(reason: Reason) -> dict[str, str]:
    mark = {Effect.SUPPORTS: ("ok", "Passed"), Effect.CONTRADICTS: ("bad", "Failed")}.get(
        reason.effect, ("none", "Not evaluable")
    )
    return {
        "reference": reason.reference,
        "text": reason.text.removeprefix(reason.reference).strip(),
        "kind_mark": mark[0],
        "word": mark[1],
    }


def _mapping(mapping: Mapping, found: Requirement) -> dict[str, Any]:
    outward = mapping.source_id == found.pk
    other = mapping.target if outward else mapping.source
    sentence = Relationship(mapping.relationship).label
    return {
        "other": other,
        "url": reverse("web:requirement", args=[other.framework.key, other.ref]),
        "relation": f"this {sentence} it" if outward else f"it {sentence} this",
        "carries": CARRIES[Relationship(mapping.relationship)],
    }
