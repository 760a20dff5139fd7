"""The list of meters, the page of one meter, and its proof bundle."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from compliance.accounts import policy
from compliance.accounts import selectors as accounts
from compliance.accounts.policy import Reach
from compliance.checks.models import FindingState
from compliance.checks.selectors import findings_of_meter
from compliance.custody import selectors as custody
from compliance.custody.models import Identifier, Meter
from compliance.evidence.selectors import evidence_visible_to
from compliance.jobs import clock
from compliance.ledger import proofs
from compliance.ledger import selectors as ledger
from compliance.ledger.proofs import NotYetIncluded
from compliance.web import filters, words
from compliance.web.meter_page import meter_context, record_status
from compliance.web.paging import Order, page
from compliance.web.reader import reader
from compliance.web.time_stamp import time_stamp
from compliance.web.trust import VERIFY_STEPS, trust_files
from compliance.web.views.findings import finding_row

STORED_TOO_LONG = timedelta(days=60)
MAX_BUNDLE_METERS = 100  # one page of the list; a bundle may hold 1,000 subjects
NOT_UNDER_A_CHECKPOINT = 409
HANDED_ON = "handed-on"

ORDERS = {
    "meter": Order("meter", "subject", "Meter", tie="public_id"),
    "state": Order("state", "claimed_state", "State", tie="public_id"),
    "holder": Order("holder", "holder", "Holder", tie="public_id"),
    "violations": Order("violations", "shown_violations", "Record", tie="public_id", descending_first=True),
    "events": Order("events", "head_seq", "Events", tie="public_id", descending_first=True),
    "recorded": Order("recorded", "head_recorded_at", "Last event", tie="public_id", descending_first=True),
}
NOT_ASSURED = ~Q(claimed_state=F("assured_state"))
RECORD = {
    "clean": (Q(shown_violations=0), "No violation"),
    "violations": (Q(shown_violations__gt=0), "With violations"),
    "not-assured": (NOT_ASSURED, "State not assured"),
}
PHASES = {
    **{phase.key: (Q(claimed_state__in=phase.states), phase.name) for phase in words.PHASES},
    "off-the-path": (Q(claimed_state__in=words.OFF_THE_PATH), "Off the path"),
}


@login_required
@require_GET
def meters(request: HttpRequest) -> HttpResponse:
    """Meters the reader shares, with saved views, facets, sorting and pages; all of it in the address."""
    if not policy.allows(reader(request), "meter.read"):
        raise PermissionDenied
    shared = custody.meters_shared_now(reader(request))
    views = _saved_views()
    view = request.GET.get("view", "")
    counts = filters.count_each(shared, {name: condition for name, (_, condition) in views.items()})
    tabs: list[tuple[str, str, int | None, bool]] = [
        (heading, f"?view={name}" if name else "?", counts[name], name == view) for name, (heading, _) in views.items()
    ]
    if policy.reach(reader(request), "meter.read") == Reach.OWN:
        tabs.append(("Handed on", f"?view={HANDED_ON}", None, view == HANDED_ON))
    if view == HANDED_ON:
        return _handed_on(request, tabs)
    view = view if view in views else ""
    makers = sorted(filter(None, shared.order_by().values_list("manufacturer", flat=True).distinct()))
    names = {key: each.name for key, each in accounts.organisations(makers).items()}
    found = filters.filtered(
        shared.filter(views[view][1]),
        request.GET,
        facets=[
            filters.Facet("phase", "Phase", {key: q for key, (q, _) in PHASES.items()}, lambda value: PHASES[value][1]),
            filters.Facet(
                "record", "Record", {key: q for key, (q, _) in RECORD.items()}, lambda value: RECORD[value][1]
            ),
            filters.Facet(
                "maker",
                "Manufacturer",
                {each: Q(manufacturer=each) for each in makers},
                lambda value: names.get(value, value),
            ),
        ],
        search=_search,
    )
    rows = page(found.rows, request, orders=ORDERS, default="-recorded")
    context = {
        "views": tabs,
        "list": found,
        "kept": _kept(request, view),
        "population": counts[""],
        "total": found.rows.count(),
        "page": rows,
        "rows": _table_rows(rows.rows),
        "search_hint": "Meter ID, any identifier, type or holder",
    }
    return render(request, "web/meters.html", context)


@login_required
@require_GET
def meter(request: HttpRequest, public_id: str) -> HttpResponse:
    """One meter: where it stands, its visible chain, what is wrong with it, and the panel that proves it."""
    found = _meter(request, public_id)
    context = {
        **meter_context(found, reader(request)),
        "findings": [
            finding_row(each)
            for each in findings_of_meter(found.subject, reader(request)).filter(state=FindingState.OPEN)
        ],
        "evidence": [
            {"evidence": each, "review": words.REVIEW[each.state]} for each in evidence_about(reader(request), found)
        ],
        "trust": trust_files(),
        "time_stamp": time_stamp(),
        "verify_steps": VERIFY_STEPS,
        "may_report": policy.allows(reader(request), "report.request"),
    }
    return render(request, "web/meter.html", context)


@login_required
@require_GET
def meter_proof(request: HttpRequest, public_id: str) -> HttpResponse:
    """The proof bundle of one meter, for who may see its whole chain: a bundle hides nothing."""
    found = _meter(request, public_id)
    return _bundle(request, [found], name=f"{found.subject.rpartition(':')[2]}.proof")


@login_required
@require_GET
def meters_proof(request: HttpRequest) -> HttpResponse:
    """One proof bundle of several meters, as chosen in the list."""
    chosen = request.GET.getlist("meter")[:MAX_BUNDLE_METERS]
    found = list(custody.meters_visible_to(reader(request)).filter(public_id__in=chosen).order_by("subject"))
    if not found:
        raise Http404
    return _bundle(request, found, name=f"{len(found)}-meters.proof")


def _saved_views() -> dict[str, tuple[str, Q]]:
    long_ago = clock.now() - STORED_TOO_LONG
    return {
        "": ("All", Q(pk__isnull=False)),
        "exceptions": ("With violations", Q(shown_violations__gt=0)),
        "not-assured": ("State not assured", NOT_ASSURED),
        "held": ("Quarantined or missing", Q(claimed_state__in=("quarantined", "missing"))),
        "stored": (
            f"Stored over {STORED_TOO_LONG.days} days",
            Q(claimed_state__in=("received", "accepted"), head_recorded_at__lt=long_ago),
        ),
    }


def _handed_on(request: HttpRequest, tabs: list[Any]) -> HttpResponse:
    """Meters of the past, each as it was when it was handed on; no filter or order may tell more than that."""
    found = custody.handed_on(reader(request), after=request.GET.get("after_subject"))
    context = {"views": tabs, "rows": _table_rows(found.meters), "next": found.next}
    return render(request, "web/meters_handed_on.html", context)


def _bundle(request: HttpRequest, meters: Sequence[Meter], *, name: str) -> HttpResponse:
    if not all(custody.sees_whole_chain(each, reader(request)) for each in meters):
        raise PermissionDenied
    try:
        data = proofs.proof_bundle([each.subject for each in meters])
    except NotYetIncluded as pending:
        return HttpResponse(pending.detail, status=NOT_UNDER_A_CHECKPOINT, content_type="text/plain; charset=utf-8")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(data, content_type="application/json", headers=headers)


def _meter(request: HttpRequest, public_id: str) -> Meter:
    found = custody.meter(public_id, reader(request))
    if found is None:
        raise Http404
    return found


def _search(text: str) -> Q:
    named = Identifier.objects.filter(subject_key=OuterRef("subject_key"), value__icontains=text)
    return Q(subject__icontains=text) | Q(meter_type__icontains=text) | Q(holder=text.lower()) | Q(Exists(named))


def _kept(request: HttpRequest, view: str) -> list[tuple[str, str]]:
    """What the filter form must carry along: the view, and how the list is sorted."""
    kept = [(name, request.GET[name]) for name in ("sort", "rows") if request.GET.get(name)]
    return [("view", view), *kept] if view else kept


def _table_rows(meters: Sequence[Meter]) -> list[dict[str, Any]]:
    names = accounts.organisations({each.holder for each in meters if each.holder})
    heads = ledger.heads([each.subject for each in meters])
    return [
        {
            "meter": each,
            "name": each.subject.split(":", 2)[2],
            "url": reverse("web:meter", args=[each.public_id]),
            "state": words.state(each.claimed_state),
            "holder": names[each.holder].name if each.holder in names else each.holder,
            "record": record_status(each),
            "events": each.last_seq + 1,
            "head": heads[each.subject].hex() if each.subject in heads else "",
        }
        for each in meters
    ]


def evidence_about(person: Any, meter: Meter) -> QuerySet[Any]:
    """Evidence linked to `meter`, as far as `person` may see it."""
    return evidence_visible_to(person).filter(links__kind="meter", links__reference=meter.subject)
