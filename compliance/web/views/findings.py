"""What the automatic checks found: the list, one finding with the form to close it, and a run on demand."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from compliance.accounts import policy
from compliance.checks import actions, registry, selectors
from compliance.checks.models import Finding, FindingState, Resolution
from compliance.checks.registry import Check
from compliance.custody import selectors as custody
from compliance.custody import words as custody_words
from compliance.frameworks import selectors as frameworks
from compliance.ledger.errors import Refused
from compliance.web import filters, words
from compliance.web.meter_page import record_status
from compliance.web.paging import Order, page
from compliance.web.reader import reader

ORDERS = {
    "severity": Order("severity", "severity", "Severity"),
    "check": Order("check", "detector", "Check"),
    "meters": Order("meters", "meter_count", "Meters", descending_first=True),
    "opened": Order("opened", "opened_at", "Opened", descending_first=True),
}
VIEWS = {
    "": ("Open", Q(state=FindingState.OPEN)),
    "closed": ("Closed", Q(state=FindingState.CLOSED)),
    "all": ("All", Q(pk__isnull=False)),
}


class CloseForm(forms.Form):
    """How a finding ends, and why."""

    resolution = forms.ChoiceField(
        label="How it ends",
        choices=Resolution.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose how the finding ends"},
    )
    reason = forms.CharField(
        max_length=actions.MAX_REASON_CHARACTERS,
        widget=forms.Textarea(attrs={"class": "in", "rows": 5}),
        help_text="It becomes part of the record, and stands in every report of its time.",
        error_messages={"required": "Say what was put right, or what explains it"},
    )


@login_required
@require_GET
def findings(request: HttpRequest) -> HttpResponse:
    """Findings the reader may see, the newest first."""
    if not policy.allows(reader(request), "finding.read"):
        raise PermissionDenied
    visible = selectors.findings_visible_to(reader(request))
    present = set(visible.order_by().values_list("detector", flat=True).distinct())
    view = request.GET.get("view", "")
    view = view if view in VIEWS else ""
    counts = filters.count_each(visible, {name: condition for name, (_, condition) in VIEWS.items()})
    found = filters.filtered(
        visible.filter(VIEWS[view][1]),
        request.GET,
        facets=[
            filters.Facet("severity", "Severity", {each: Q(severity=each) for each in words.SEVERITY}, _severity_words),
            filters.Facet("check", "Check", {each: Q(detector=each) for each in sorted(present)}, _check_words),
        ],
        search=lambda text: (
            Q(subject__icontains=text) | Q(about__icontains=text) | Q(detector__iexact=text) | Q(pk=text)
        ),
    )
    rows = page(found.rows, request, orders=ORDERS, default="-opened")
    run = selectors.latest_run()
    context = {
        "views": [
            (heading, f"?view={name}" if name else "?", counts[name], name == view)
            for name, (heading, _) in VIEWS.items()
        ],
        "list": found,
        "kept": [("view", view)] if view else [],
        "population": counts["all"],
        "total": found.rows.count(),
        "page": rows,
        "rows": [finding_row(each) for each in rows.rows],
        "search_hint": "Meter, session or check",
        "may_run": policy.allows(reader(request), "check.run"),
        "run": run,
        "check_count": len(registry.checks()),
    }
    return render(request, "web/findings.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def finding(request: HttpRequest, public_id: str) -> HttpResponse:
    """One finding: what was seen, at which position of the log, and how to see it again. POST closes it."""
    found = selectors.finding(public_id, reader(request))
    if found is None:
        raise Http404
    may_close = policy.allows(reader(request), "finding.close", found)
    form, status = (CloseForm() if may_close else None), 200
    if request.method == "POST":
        if not may_close:
            raise PermissionDenied
        form, status = CloseForm(request.POST), 422
        if form.is_valid() and _close(request, found, form):
            return redirect("web:finding", public_id)
    check = _check(found.detector)
    context = {
        **finding_row(found),
        "meters": _meters(request, found),
        "speaks_to": _speaks_to(check),
        "parameters": [(name.replace("_", " ").capitalize(), value) for name, value in found.parameters.items()],
        "resolution": Resolution(found.resolution).label if found.resolution else "",
        "form": form,
    }
    return render(request, "web/finding.html", context, status=status)


@login_required
@require_POST
def findings_run(request: HttpRequest) -> HttpResponse:
    """Queue a run of all checks."""
    if not policy.allows(reader(request), "check.run"):
        raise PermissionDenied
    actions.request_run(by=reader(request))
    messages.info(request, "The checks are running. Load this page again in a moment.")
    return redirect("web:findings")


def finding_row(found: Finding) -> dict[str, Any]:
    """One finding as lists show it."""
    check = _check(found.detector)
    return {
        "finding": found,
        "title": check.title if check else found.detector,
        "severity": words.SEVERITY.get(found.severity, ("none", found.severity)),
        "state": FindingState(found.state).label,
        "about": (found.about or found.subject).split(":", 2)[-1],
    }


def _check(detector: str) -> Check | None:
    return next((each for each in registry.checks() if each.id == detector), None)


def _severity_words(severity: str) -> str:
    return words.SEVERITY[severity][1]


def _check_words(detector: str) -> str:
    check = _check(detector)
    return f"{detector} {check.name.replace('_', ' ')}" if check else detector


def _close(request: HttpRequest, found: Finding, form: CloseForm) -> bool:
    try:
        actions.close_finding(
            finding=found,
            by=reader(request),
            resolution=form.cleaned_data["resolution"],
            reason=form.cleaned_data["reason"],
        )
    except Refused as refusal:
        form.add_error(None, refusal.detail)
        return False
    messages.success(request, "The finding is closed, and the decision is recorded in the ledger.")
    return True


def _meters(request: HttpRequest, found: Finding) -> list[dict[str, Any]]:
    """The meters it names that the reader may see; the others by name only for those who may see everything."""
    person = reader(request)
    named = custody.meters_visible_to(person).filter(subject__in=found.meters)
    visible = {each.subject: each for each in custody.as_seen_by(person, named)}
    rows = []
    for subject in found.meters:
        if (meter := visible.get(subject)) is not None:
            rows.append(
                {
                    "name": subject.split(":", 2)[2],
                    "url": reverse("web:meter", args=[meter.public_id]),
                    "state": custody_words.state(meter.claimed_state),
                    "record": record_status(meter),
                }
            )
    return rows


def _speaks_to(check: Check | None) -> list[dict[str, str]]:
    references = check.speaks_to if check else ()
    known = frameworks.known_references(references)
    return [
        {"words": each, "url": reverse("web:requirement", args=each.split(":", 1)) if each in known else ""}
        for each in references
    ]
