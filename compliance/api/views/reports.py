"""Reports: asked for here, made by a job, fetched as signed PDFs."""

import base64
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api import idempotency, paging
from compliance.api.idempotency import Answer
from compliance.api.problems import ApiProblem
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Choice, Pattern, Shape
from compliance.api.views.api_keys import IDEMPOTENCY_KEY
from compliance.api.views.base import ApiView, json_response
from compliance.api.views.jobs import accepted_headers
from compliance.proof.times import format_time
from compliance.reports import actions, selectors
from compliance.reports.archive import ArchiveDamaged
from compliance.reports.models import Kind, Report, SealStatus, State

TAG = "Reports"
REPORT_ID = path_text("report_id", "The report's id.", r"^rpt_[0-9a-f]{32}$")


class ReportParameters(Shape):
    """What the report is about: a framework for an audit report, a meter for a certificate."""

    framework = Pattern(r"[a-z0-9][a-z0-9-]{0,63}", required=False)
    meter = Pattern(r"mtr_[0-9a-f]{32}", required=False)


class NewReport(Shape):
    """Which report."""

    kind = Choice(choices=Kind.choices)
    parameters = ReportParameters()
    language = Choice(choices=[(language, language) for language in sorted(actions.LANGUAGES)], required=False)


class ReportAnswer(serializers.Serializer):
    """A report and how far it got. Once issued its digests stand in the log."""

    id = serializers.CharField()
    number = serializers.CharField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    title = serializers.CharField(allow_blank=True)
    parameters = serializers.DictField(child=serializers.CharField())
    language = serializers.CharField()
    state = serializers.ChoiceField(choices=State.choices)
    seal_status = serializers.ChoiceField(choices=[("", "Not sealed"), *SealStatus.choices])
    job = serializers.CharField(allow_blank=True)
    failure = serializers.CharField(allow_blank=True)
    requested_at = serializers.DateTimeField()
    issued_at = serializers.DateTimeField(allow_null=True)
    log_size = serializers.IntegerField(allow_null=True, help_text="Size of the log the report rests on.")
    pdf_sha256 = serializers.CharField(allow_blank=True)
    pdf_size = serializers.IntegerField(allow_null=True)


class ReportPage(serializers.Serializer):
    """A page of reports."""

    items = ReportAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class ReportList(ApiView):
    """`/api/v1/reports`"""

    actions: ClassVar = {"GET": "report.read", "POST": "report.request"}
    query_shapes: ClassVar = {"GET": paging.PageQuery}

    @operation(
        "list_reports",
        "Reports you may see, newest first",
        tag=TAG,
        answer=ReportPage,
        action="report.read",
        query=paging.PageQuery,
    )
    def get(self, request: Request) -> HttpResponse:
        page = paging.page_of(
            selectors.reports_visible_to(self.caller),
            key="pk",
            query=self.query,
            bound_to=f"reports {self.caller.pk}",
            descending=True,
        )
        body = {"items": [report_body(report) for report in page.rows], "next": page.next}
        return json_response(body, headers=paging.link_to(request.path, self.query, page.next))

    @operation(
        "request_report",
        "Ask for a report",
        tag=TAG,
        answer=ReportAnswer,
        success=202,
        action="report.request",
        body=NewReport,
        parameters=[IDEMPOTENCY_KEY],
        description="A job draws, signs and time-stamps it; `job` says which.",
    )
    def post(self, request: Request) -> HttpResponse:
        wanted = self.read_body(NewReport, request)

        def ask() -> Answer:
            report = actions.request_report(by=self.caller, **wanted)
            return Answer(status=202, body=report_body(report), headers=accepted_headers(report.job))

        return idempotency.once(request, self.sent, ask)


class ReportDetail(ApiView):
    """`/api/v1/reports/{report_id}`"""

    actions: ClassVar = {"GET": "report.read"}

    @operation(
        "get_report",
        "One report",
        tag=TAG,
        answer=ReportAnswer,
        action="report.read",
        also=(404,),
        parameters=[REPORT_ID],
    )
    def get(self, request: Request, report_id: str) -> HttpResponse:
        return json_response(report_body(self.found(selectors.report(report_id, self.caller))))


class ReportContent(ApiView):
    """`/api/v1/reports/{report_id}/content`"""

    actions: ClassVar = {"GET": "report.read"}

    @operation(
        "get_report_content",
        "The signed PDF of an issued report",
        tag=TAG,
        answer=bytes,
        media_type="application/pdf",
        action="report.read",
        also=(404, 500),
        parameters=[REPORT_ID],
    )
    def get(self, request: Request, report_id: str) -> HttpResponse:
        report = self.found(selectors.report(report_id, self.caller))
        try:
            with self.found(selectors.open_pdf(report)) as stream:
                data = stream.read()
        except ArchiveDamaged:
            raise ApiProblem("report.damaged") from None
        digest = base64.b64encode(bytes.fromhex(report.pdf_sha256)).decode()
        headers = {
            "Content-Disposition": f'attachment; filename="{selectors.download_name(report)}"',
            "Content-Digest": f"sha-256=:{digest}:",
        }
        return HttpResponse(data, content_type="application/pdf", headers=headers)


def report_body(report: Report) -> dict[str, Any]:
    """What the interface says about a report."""
    return {
        "id": report.public_id,
        "number": report.number,
        "kind": report.kind,
        "title": report.title,
        "parameters": report.parameters,
        "language": report.language,
        "state": report.state,
        "seal_status": report.seal_status,
        "job": report.job,
        "failure": report.failure,
        "requested_at": format_time(report.requested_at),
        "issued_at": format_time(report.issued_at) if report.issued_at else None,
        "log_size": report.log_size,
        "pdf_sha256": report.pdf_sha256,
        "pdf_size": report.pdf_size,
    }
