"""Reports: the list with the request form, one report with its progress, and the signed file."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from compliance.accounts import policy
from compliance.custody import selectors as custody
from compliance.custody.models import Identifier, Meter
from compliance.frameworks import selectors as frameworks
from compliance.jobs import selectors as jobs
from compliance.reports import actions, selectors
from compliance.reports.archive import ArchiveDamaged
from compliance.reports.models import Kind, Report, SealStatus, State
from compliance.web import words
from compliance.web.paging import Order, page
from compliance.web.reader import reader

ORDERS = {"requested": Order("requested", "requested_at", "Requested", descending_first=True)}
# A PDF is saved, not opened in our origin.
FILE_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'"}


class RequestForm(forms.Form):
    """What kind of report, about what."""

    kind = forms.ChoiceField(
        label="Kind",
        choices=Kind.choices,
        widget=forms.Select(attrs={"class": "in"}),
        error_messages={"required": "Choose the kind of report", "invalid_choice": "Choose the kind of report"},
    )
    framework = forms.ChoiceField(
        label="Framework",
        required=False,
        widget=forms.Select(attrs={"class": "in"}),
        help_text="for a framework audit report",
        error_messages={"invalid_choice": "Choose one of the frameworks"},
    )
    meter = forms.CharField(
        label="Meter",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "in", "autocomplete": "off"}),
        help_text="for a custody certificate: any identifier of the meter",
    )

    def __init__(self, *args: Any, person: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        known = [(each.key, each.title) for each in frameworks.frameworks()]
        self.fields["framework"].choices = [("", "Choose"), *known]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Turn the fields of the chosen kind into the report's parameters."""
        values = super().clean() or {}
        if values.get("kind") == Kind.FRAMEWORK_AUDIT:
            values["parameters"] = {"framework": values.get("framework", "")}
            if not values.get("framework") and "framework" not in self.errors:
                self.add_error("framework", "Choose the framework to audit against")
        elif values.get("kind") == Kind.METER_CERTIFICATE:
            values["parameters"] = {"meter": self._meter(values.get("meter", "").strip())}
        return values

    def _meter(self, name: str) -> str:
        if not name:
            self.add_error("meter", "Enter an identifier of the meter")
            return ""
        subjects = Identifier.objects.filter(value__iexact=name).values("subject")
        visible = custody.meters_visible_to(self.person)
        found = visible.filter(public_id=name).first() or visible.filter(subject__in=subjects).first()
        if found is None:
            self.add_error("meter", "No meter that you can see has this identifier")
            return ""
        return str(found.public_id)


@login_required
@require_http_methods(["GET", "POST"])
def reports(request: HttpRequest) -> HttpResponse:
    """Reports the reader may see, newest first. POST requests one."""
    if not policy.allows(reader(request), "report.read"):
        raise PermissionDenied
    may_request = policy.allows(reader(request), "report.request")
    form, status = None, 200
    if may_request:
        form = RequestForm(initial=_initial(request), person=reader(request))
    if request.method == "POST":
        if not may_request:
            raise PermissionDenied
        form, status = RequestForm(request.POST, person=reader(request)), 422
        if form.is_valid() and (made := _request(request, form)) is not None:
            return redirect("web:report", made.public_id)
    visible = selectors.reports_visible_to(reader(request))
    rows = page(visible, request, orders=ORDERS, default="-requested")
    context = {"rows": _rows(rows.rows), "page": rows, "total": visible.count(), "form": form}
    return render(request, "web/reports.html", context, status=status)


@login_required
@require_GET
def report(request: HttpRequest, public_id: str) -> HttpResponse:
    """One report: how far it is, and how it is signed."""
    found = _report(request, public_id)
    context = {
        **_rows([found])[0],
        "progress": _progress(found),
        "asked_by": found.requested_by or (found.actor["service"] if found.requested_with_id else "the platform"),
        "file_name": selectors.download_name(found),
    }
    return render(request, "web/report.html", context)


@login_required
@require_GET
def report_progress(request: HttpRequest, public_id: str) -> HttpResponse:
    """How far a report is, for the page that waits for it."""
    found = _report(request, public_id)
    return JsonResponse({**_progress(found), "over": not found.is_open})


@login_required
@require_GET
def report_content(request: HttpRequest, public_id: str) -> HttpResponseBase:
    """The signed PDF, checked against its digest before it goes out."""
    found = _report(request, public_id)
    try:
        stream = selectors.open_pdf(found)
    except ArchiveDamaged as damage:
        raise Http404 from damage
    if stream is None:
        raise Http404
    return FileResponse(
        stream,
        as_attachment=True,
        filename=selectors.download_name(found),
        content_type="application/pdf",
        headers=FILE_HEADERS,
    )


def _report(request: HttpRequest, public_id: str) -> Report:
    found = selectors.report(public_id, reader(request))
    if found is None:
        raise Http404
    return found


def _initial(request: HttpRequest) -> dict[str, str]:
    """What a link from a framework's or meter's page fills in."""
    return {name: request.GET[name] for name in ("kind", "framework", "meter") if name in request.GET}


def _request(request: HttpRequest, form: RequestForm) -> Report | None:
    values = form.cleaned_data
    try:
        made = actions.request_report(by=reader(request), kind=values["kind"], parameters=values["parameters"])
    except actions.RequestRefused as refusal:
        form.add_error(refusal.parameter if refusal.parameter in form.fields else None, refusal.detail)
        return None
    messages.success(request, "The report is requested.")
    return made


def _progress(found: Report) -> dict[str, Any]:
    job = jobs.get(found.job) if found.job else None
    said = job.message if job and job.message else words.REPORT_STATES[found.state][1]
    return {"percent": 100 if found.state == State.ISSUED else (job.percent if job else 0), "message": said}


def _rows(found: list[Report]) -> list[dict[str, Any]]:
    meters = _meters_of(found)
    titles = {each.key: each.title for each in frameworks.frameworks()} if found else {}
    return [
        {
            "report": each,
            "kind": Kind(each.kind).label,
            "about": titles.get(each.parameters.get("framework", ""))
            or meters.get(each.parameters.get("meter", ""))
            or each.title,
            "state": words.REPORT_STATES[each.state],
            "seal": _seal(each),
            "issued": each.state == State.ISSUED,
            "waiting": each.is_open,
        }
        for each in found
    ]


def _meters_of(found: list[Report]) -> dict[str, str]:
    wanted: QuerySet[Meter] = Meter.objects.filter(public_id__in=[each.parameters.get("meter", "") for each in found])
    return {each.public_id: each.subject.split(":", 2)[2] for each in wanted}


def _seal(found: Report) -> tuple[str, str, str]:
    match found.seal_status:
        case SealStatus.VERIFIED if found.sealed_by_development_authority:
            return "warn", "Sealed, development authority", f"and time stamped by {found.time_stamp_by}"
        case SealStatus.VERIFIED:
            return "ok", "Sealed and time stamped", f"by {found.time_stamp_by}"
        case SealStatus.AWAITING_TIME_STAMP:
            return "info", "Awaiting a time stamp", ""
    return "none", "Not sealed", ""
