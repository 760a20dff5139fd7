"""The list of evidence, the page of one item with the review form, and its files."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from compliance.accounts import policy
from compliance.custody import selectors as custody
from compliance.evidence import actions, selectors, storage
from compliance.evidence.errors import BlobDamaged, BlobMissing, IntakeRefused, WrongState
from compliance.evidence.models import Evidence, LinkKind, State
from compliance.frameworks import selectors as frameworks
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.web import filters, words
from compliance.web.paging import Order, page
from compliance.web.reader import reader

DECISIONS = (("accept", "Accept as sufficient"), ("return", "Return and ask for a new version"))
ORDERS = {
    "title": Order("title", "title", "Document"),
    "received": Order("received", "received_at", "Received", descending_first=True),
}
CONDITIONS = {
    storage.Condition.INTACT: ("ok", "Digest matches"),
    storage.Condition.DAMAGED: ("bad", "Damaged: digest differs"),
    storage.Condition.MISSING: ("bad", "Missing"),
}
# A file somebody else made is never shown in our origin: it is saved, whatever it says it is.
UNTRUSTED_CONTENT = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ReviewForm(forms.Form):
    """Accept or return, with the reason."""

    decision = forms.ChoiceField(
        choices=DECISIONS,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose whether you accept or return it"},
    )
    reason = forms.CharField(
        max_length=actions.MAX_REASON_CHARACTERS,
        widget=forms.Textarea(attrs={"class": "in", "rows": 5}),
        help_text="The sender reads this. It becomes part of the record.",
        error_messages={"required": "Say what you checked, or what is wrong and what you need"},
    )


@login_required
@require_GET
def evidence_list(request: HttpRequest) -> HttpResponse:
    """Evidence the reader may see, with facets and pages."""
    if not policy.allows(reader(request), "evidence.read"):
        raise PermissionDenied
    visible = selectors.evidence_visible_to(reader(request))
    kinds = sorted(visible.order_by().values_list("kind", flat=True).distinct())
    senders = dict(visible.order_by().values_list("organisation_id", "organisation__name").distinct())
    views = {
        "": ("All", Q(), "?"),
        "waiting": ("Waiting for review", Q(state=State.SUBMITTED), "?view=waiting"),
        "returned": ("Returned", Q(state=State.RETURNED), "?view=returned"),
    }
    view = request.GET.get("view", "")
    view = view if view in views else ""
    counts = filters.count_each(visible, {name: condition for name, (_, condition, _) in views.items()})
    found = filters.filtered(
        visible.filter(views[view][1]),
        request.GET,
        facets=[
            filters.Facet(
                "state",
                "Review",
                {state: Q(state=state) for state in State.values},
                lambda value: words.REVIEW[value][1],
            ),
            filters.Facet("kind", "Kind", {kind: Q(kind=kind) for kind in kinds}, kind_words),
            filters.Facet(
                "from", "From", {each: Q(organisation_id=each) for each in senders}, lambda value: senders[value]
            ),
        ],
        search=lambda text: Q(title__icontains=text) | Q(manifest_sha256__startswith=text.lower()) | Q(public_id=text),
    )
    rows = page(found.rows, request, orders=ORDERS, default="-received")
    return render(
        request,
        "web/evidence_list.html",
        {
            "views": [(heading, url, counts[name], name == view) for name, (heading, _, url) in views.items()],
            "list": found,
            "kept": [("view", view)] if view else [],
            "population": counts[""],
            "total": found.rows.count(),
            "page": rows,
            "rows": [
                {"evidence": each, "kind": kind_words(each.kind), "review": words.REVIEW[each.state]}
                for each in rows.rows
            ],
            "search_hint": "Title, digest or id",
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def evidence(request: HttpRequest, public_id: str) -> HttpResponse:
    """One evidence item. POST records a review."""
    found = _evidence(request, public_id)
    may_review = policy.allows(reader(request), "evidence.accept", found) and not _is_own(reader(request), found)
    form = None
    status = 200
    if request.method == "POST":
        if not may_review:
            raise PermissionDenied
        form = ReviewForm(request.POST)
        if form.is_valid() and _record(request, found, form):
            return redirect("web:evidence", public_id)
        status = 422
    elif may_review:
        form = ReviewForm()
    return render(request, "web/evidence.html", {**_context(request, found), "form": form}, status=status)


@login_required
@require_GET
def evidence_file(request: HttpRequest, public_id: str, sha256: str) -> HttpResponseBase:
    """The original bytes of a file, re-hashed before they go out."""
    try:
        opened = selectors.open_file(_evidence(request, public_id), sha256)
    except (BlobMissing, BlobDamaged) as problem:
        raise Http404 from problem
    if opened is None:
        raise Http404
    file, stream = opened
    return FileResponse(
        stream,
        as_attachment=True,
        filename=file.name,
        content_type="application/octet-stream",
        headers=UNTRUSTED_CONTENT,
    )


def kind_words(kind: str) -> str:
    """A kind of evidence as words."""
    return kind.replace("_", " ").capitalize()


def _evidence(request: HttpRequest, public_id: str) -> Evidence:
    found = selectors.evidence(public_id, reader(request))
    if found is None:
        raise Http404
    return found


def _is_own(person: Any, found: Evidence) -> bool:
    return found.organisation_id in {each.pk for each in person.organisations}


def _record(request: HttpRequest, found: Evidence, form: ReviewForm) -> bool:
    act = actions.accept_evidence if form.cleaned_data["decision"] == "accept" else actions.return_evidence
    try:
        act(evidence=found, reviewer=reader(request), reason=form.cleaned_data["reason"])
    except (IntakeRefused, WrongState, BlobMissing, BlobDamaged) as problem:
        form.add_error(None, str(problem))
        return False
    messages.success(request, "Decision recorded in the ledger.")
    return True


def _context(request: HttpRequest, found: Evidence) -> dict[str, Any]:
    entry = ledger.entry(found.subject, 0)
    files = []
    for file in found.files.all():
        condition = file.condition()
        files.append(
            {"file": file, "condition": CONDITIONS[condition], "intact": condition is storage.Condition.INTACT}
        )
    return {
        "evidence": found,
        "kind": kind_words(found.kind),
        "review": words.REVIEW[found.state],
        "files": files,
        "links": [_link(request, link.kind, link.reference) for link in found.links.all()],
        "entry": entry,
        "leaf": ledger.leaf_index(found.subject, 0) if entry else None,
        "checked_at": clock.now(),
        "why_no_review": _why_no_review(reader(request), found),
    }


def _link(request: HttpRequest, kind: str, reference: str) -> dict[str, str]:
    url = ""
    if kind == LinkKind.REQUIREMENT and reference in frameworks.known_references([reference]):
        framework, _, ref = reference.partition(":")
        url = reverse("web:requirement", args=[framework, ref])
    elif kind == LinkKind.METER:
        meter = custody.meters_visible_to(reader(request)).filter(subject=reference).first()
        url = reverse("web:meter", args=[meter.public_id]) if meter else ""
    return {"kind": LinkKind(kind).label, "words": reference, "url": url}


def _why_no_review(person: Any, found: Evidence) -> str:
    if found.state != State.SUBMITTED or not policy.allows(person, "evidence.accept"):
        return ""
    return "You cannot review this: nobody reviews what their own organisation handed in."
